"""Print what the paper's recipes cost: `PYTHONPATH=src python benchmarks/recipe_cost.py`.

All figures are computed from the constants below and the sizes of the models. Nothing is measured. docs/cluster.md has
the table.
"""

from __future__ import annotations

from dataclasses import dataclass

from memagent.cluster.gpu_memory import GpuMemory, ModelSize, estimate

# The paper and the presets.
STEPS, GROUP = 400, 16
SEGMENTS = 7  # of 32K tokens, at most 5,000 each
SEGMENT = 4_670  # tokens of one of them
TEMPLATE, QUESTION = 120, 25  # tokens
MICRO_TOKENS = 8_192

# One H100 SXM, from its data sheet.
FLOPS = 989e12  # in bfloat16, without sparsity
BANDWIDTH = 3.35e12  # bytes a second
MEMORY = 80e9

# Assumptions.
COMPLETION = 512  # tokens of a memory or an answer: half of the limit
UTILISATION = 0.35  # share of FLOPS that is reached (MFU), in learning and in reading prompts
DECODING = 0.5  # share of BANDWIDTH that is reached in writing completions
WAITING = 1.3  # time until the longest completion ends, compared with the mean
FIXED = 60.0  # seconds of a step for passing on the weights, rewards, and checkpoints
EFFICIENCY = {1: 1.0, 4: 0.95, 16: 0.8}  # share of a GPU's speed that remains on this many nodes of 8 GPUs
DOLLARS = 2.50  # for an hour of one H100


@dataclass(frozen=True)
class Recipe:
    name: str
    size: ModelSize
    problems: int
    cache: int
    """Bytes that a token takes in the sampler's cache: layers x keys and values x heads x 128 numbers of 2 bytes."""
    tensor_parallel: int
    sampler_memory: float = 0.7

    @property
    def readings(self) -> int:
        return self.problems * GROUP

    @property
    def prompts(self) -> int:
        """Prompt tokens of a reading."""
        memories = SEGMENTS * COMPLETION  # the first prompt has none, and that of the answer has one
        return SEGMENTS * (TEMPLATE + QUESTION + SEGMENT) + (TEMPLATE + QUESTION) + memories

    @property
    def completions(self) -> int:
        return (SEGMENTS + 1) * COMPLETION

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        return self.readings * (self.prompts + self.completions)

    def memory(self, gpus: int) -> GpuMemory:
        return estimate(self.size, gpus, MICRO_TOKENS, tensor_parallel=self.tensor_parallel)

    def sampling(self, gpus: int) -> float:
        return self.memory(gpus).sampling + self.sampler_memory * MEMORY

    def seconds(self, nodes: int) -> dict[str, float]:
        """Return the seconds of a step, by part."""
        gpus, size = 8 * nodes, self.size
        context = TEMPLATE + QUESTION + SEGMENT + 2 * COMPLETION
        multiplied = size.weights - size.vocabulary * size.hidden  # the input embeddings are only looked up
        forward = (
            2 * multiplied + 2 * size.layers * size.hidden * context
        )  # FLOPs a token; half of the context on average
        speed = gpus * FLOPS * UTILISATION * EFFICIENCY[nodes]
        groups = gpus // self.tensor_parallel
        free = self.tensor_parallel * (self.sampler_memory * MEMORY - self.memory(gpus).sampler)
        together = min(self.readings / groups, free / (context * self.cache))
        token = (2 * size.weights + together * context * self.cache) / (self.tensor_parallel * BANDWIDTH * DECODING)
        rounds = self.readings / groups / together
        return {
            "prompts": self.readings * self.prompts * forward / speed,
            "completions": rounds * self.completions * token * WAITING,
            "reference": self.tokens * forward / speed,
            "learning": 4 * self.tokens * forward / speed,  # forward, backward (twice as much), and forward once more
            "fixed": FIXED,
        }


RECIPES = (
    Recipe("7B", ModelSize(7_615_616_512, 7_615_616_512, 28, 3584, 18944, 152064), 128, 28 * 2 * 4 * 128 * 2, 1),
    Recipe("14B", ModelSize(14_770_033_664, 14_770_033_664, 48, 5120, 13824, 152064), 256, 48 * 2 * 8 * 128 * 2, 2),
)


def main() -> None:
    print("| model | nodes | GPUs | learning | sampling | tokens a step | minutes a step | hours | days | $ |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for recipe in RECIPES:
        for nodes in EFFICIENCY:
            gpus, step = 8 * nodes, sum(recipe.seconds(nodes).values())
            hours = STEPS * step / 3600
            print(
                f"| {recipe.name} | {nodes} | {gpus} | {recipe.memory(gpus).learning / 1e9:.0f} GB | "
                f"{recipe.sampling(gpus) / 1e9:.0f} GB | {recipe.tokens / 1e6:.0f} million | {step / 60:.1f} | "
                f"{hours:,.0f} | {hours / 24:.1f} | {hours * gpus * DOLLARS:,.0f} |"
            )
    print()
    for recipe in RECIPES:
        parts = ", ".join(f"{name} {seconds:,.0f}" for name, seconds in recipe.seconds(4).items())
        print(f"Seconds of a step of {recipe.name} on 4 nodes: {parts}")


if __name__ == "__main__":
    main()
