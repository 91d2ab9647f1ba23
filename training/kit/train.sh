#!/usr/bin/env bash
# On the machine that trains, in the repository's root: train for some minutes, evaluate, and leave the adapter in parts.
#
#   training/kit/train.sh ARRIVED PLACE MINUTES OUT [SETTING …]
#
# ARRIVED holds the kit's parts, PLACE is where everything is kept, OUT gets the adapter in parts of 15 MiB, the metrics and
# the evaluation. SETTINGs are as for --set. Parts of an adapter in ARRIVED (adapter.tar.*) are gone on from.
set -euo pipefail
arrived=$1 place=$2 minutes=$3 out=$4; shift 4
python=${PYTHON:-python3}
"$python" training/kit/unpack.py "$arrived" "$place"
"$python" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$place/site" "$place"/wheels/*.whl
export PYTHONPATH=$PWD/src:$place/site${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
"$python" training/kit/unpack.py "$arrived" "$place" weights
model=$place/model
if [ -e "$arrived/adapter.tar.parts.json" ]; then
    "$python" training/kit/parts.py join "$arrived" "$place/adapter.tar"
    rm -rf "$place/adapter"; mkdir "$place/adapter"; tar -xf "$place/adapter.tar" -C "$place/adapter"
    sed -i "s#\"base_model_name_or_path\": \"[^\"]*\"#\"base_model_name_or_path\": \"$model\"#" "$place/adapter/adapter_config.json"
    model=$place/adapter
fi
data=$place/data/train
settings=(
    "policy.model=$model" "warmup.workers=${WORKERS:-12}" "problems.prose=$data/books" "problems.squad=$data/squad.jsonl.gz"
    "problems.unanswerable=$data/unanswerable.jsonl.gz" "problems.hotpotqa=$data/hotpotqa.jsonl.gz"
    "problems.paragraphs=$data/paragraphs.jsonl.gz" "problems.stories=$data/stories.jsonl.gz" "$@"
)
status=0
"$python" -m memagent train --preset reader --out "$place/run" --minutes "$minutes" "${settings[@]/#/--set=}" || status=$?
[ $status -eq 0 ] || [ $status -eq 5 ] || exit $status
newest=$(ls -d "$place"/run/checkpoints/warmup-* | tail -n 1)
mkdir -p "$out"
sed "s#\"base_model_name_or_path\": \"[^\"]*\"#\"base_model_name_or_path\": \"${BASE:-qwen2.5-coder-0.5b}\"#" \
    "$newest/adapter_config.json" >"$place/adapter_config.json"
"$python" training/kit/halve.py "$newest/adapter_model.safetensors" "$place/adapter_model.safetensors"
cp "$newest/memagent.json" "$place/memagent.json"
tar -cf "$place/adapter.tar" -C "$place" adapter_config.json adapter_model.safetensors memagent.json
"$python" training/kit/parts.py split "$place/adapter.tar" "$out" 15
tail -n 200 "$place/run/metrics.jsonl" >"$out/metrics.jsonl"
tail -n 3 "$place/run/metrics.jsonl"
[ "${EVALUATE:-1}" = 0 ] || "$python" training/progress.py "$place/data" "checkpoint:$place/run" "$out/progress.jsonl"
