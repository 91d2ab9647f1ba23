"""An agent loop for verl that drives any reading, waves included, and returns one output for each conversation."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput, register

from memagent.cluster.problem_table import ProblemTable
from memagent.core.records import Completion, Finish, Tokens, Turn, Usage
from memagent.errors import WindowOverflow
from memagent.models.reader_defaults import load_reader_defaults
from memagent.rl.credit import overlong_penalty
from memagent.rl.rollouts import Attempt, Rollout
from memagent.rl.speaker import Speaker

NAME = "memagent"


@register(NAME)
class ReadingLoop(AgentLoopBase):
    """Reads the document of a problem, and scores the answer.

    verl's configuration has the settings under `memagent`: `folder`, which has `memagent.json`; `problems` and `tests`,
    the files of problems; and `overlong_margin`.
    """

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> list[AgentLoopOutput]:
        """Read once, and return an output for each conversation, in the order in which they ended."""
        own = self.config.memagent
        speaker = _speaker(self.tokenizer, own.folder)
        asked = row["extra_info"]
        table = _table(own.tests if asked["tests"] else own.problems)
        attempt = Attempt(table.problem(asked["index"], speaker))
        extras: dict[int, dict[str, Any]] = {}
        while attempt.wanted:
            wave = [self._complete(attempt, place, sampling_params, speaker, extras) for place in attempt.wanted]
            await asyncio.gather(*wave)
        rollout = attempt.finished()
        if not rollout.trace.turns:
            raise WindowOverflow(f"The first prompt of {rollout.problem} does not fit rollout.prompt_length.")
        return self._outputs(rollout, extras, own.overlong_margin)

    async def _complete(
        self,
        attempt: Attempt,
        place: int,
        sampling: dict[str, Any],
        speaker: Speaker,
        extras: dict[int, dict[str, Any]],
    ) -> None:
        request = attempt.wanted[place]
        prompt = speaker.render(request.messages)
        most = self.rollout_config.prompt_length  # verl would cut off the beginning of a longer prompt
        if len(prompt) > most:
            attempt.overflow(
                WindowOverflow(f"A prompt has {len(prompt):,} tokens, and rollout.prompt_length is {most:,}."), place
            )
            return
        # A request id of its own for each conversation, so that verl does not send them all to one server.
        output = await self.server_manager.generate(
            request_id=uuid4().hex, prompt_ids=prompt, sampling_params=sampling | {"max_tokens": request.max_tokens}
        )
        ids, logprobs = output.token_ids, output.log_probs or [0.0] * len(output.token_ids)
        finish: Finish = "stop" if ids and ids[-1] == speaker.end else "length"
        usage = Usage(len(prompt), len(ids))
        tokens = Tokens(tuple(ids), tuple(logprobs), tuple(prompt))
        turn = attempt.take(Completion(speaker.decode(ids), finish, usage, tokens), place)
        extras[turn.index] = dict(output.extra_fields)

    def _outputs(
        self, rollout: Rollout, extras: dict[int, dict[str, Any]], overlong_margin: int
    ) -> list[AgentLoopOutput]:
        figures = {"score": rollout.reward, "overflowed": float(rollout.overflowed)}
        reward = rollout.reward + min(
            overlong_penalty(turn.completion.usage.completion_tokens, turn.request.max_tokens, overlong_margin)
            for turn in rollout.trace.turns
        )
        return [
            _output(turn, reward, extras[turn.index] | {"reward_extra_info": figures}) for turn in rollout.trace.turns
        ]


def _output(turn: Turn, reward: float, extra: dict[str, Any]) -> AgentLoopOutput:
    tokens = turn.completion.tokens
    assert tokens is not None
    return AgentLoopOutput(
        prompt_ids=list(tokens.prompt),
        response_ids=list(tokens.ids),
        response_mask=[1] * len(tokens.ids),
        response_logprobs=list(tokens.logprobs),
        reward_score=reward,
        num_turns=2,
        metrics=AgentLoopMetrics(),
        extra_fields=extra,
    )


@cache
def _table(file: str) -> ProblemTable:
    return ProblemTable(Path(file))


@cache
def _speaker(tokenizer: Any, folder: str) -> Speaker:
    return Speaker(tokenizer, load_reader_defaults(Path(folder)))
