#!/usr/bin/env bash
# Train the reader unattended: sittings of two hours, an evaluation after each, until the preset's steps are done.
#
#   training/run.sh FOLDER        # FOLDER/data as prepare.py wrote it; FOLDER/reader is the run; FOLDER/log is the log
#
# Stop it with `kill $(cat FOLDER/pid)`; the same command goes on from the last checkpoint. See training/README.md.
set -uo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath "$1"); shift
python=${PYTHON:-.venv/bin/python}
# An allocator that keeps what is freed: where the first touch of a page is slow, as in many virtual machines, glibc's
# makes a step take twice as long (LOG.md).
for library in /usr/lib/*/libtcmalloc_minimal.so.4; do
    [ -e "$library" ] && export LD_PRELOAD=$library TCMALLOC_RELEASE_RATE=0
done
# A processor that multiplies bfloat16 itself takes a step in two fifths of the time; on any other it is slower (LOG.md).
precision=float32
grep -qE "avx512_bf16|amx_bf16" /proc/cpuinfo && precision=bfloat16
begun=$folder/reader/config.json # a run goes on with what it began with, also on another machine
[ -e "$begun" ] && precision=$(sed -n 's/.*"precision": "\([a-z0-9]*\)".*/\1/p' "$begun")
export OMP_WAIT_POLICY=passive # a thread that waits for one that was put aside must not spin
echo $$ >"$folder/pid"
child=
trap '[ -n "$child" ] && kill "$child"; wait; exit 130' TERM
data=$folder/data/train
while true; do
    nice -n 19 "$python" -m memagent train --preset reader --out "$folder/reader" --minutes "${MINUTES:-120}" \
        --set "policy.precision=$precision" \
        --set "problems.prose=$data/books" --set "problems.squad=$data/squad.jsonl.gz" \
        --set "problems.unanswerable=$data/unanswerable.jsonl.gz" --set "problems.hotpotqa=$data/hotpotqa.jsonl.gz" \
        --set "problems.paragraphs=$data/paragraphs.jsonl.gz" --set "problems.stories=$data/stories.jsonl.gz" \
        "$@" >>"$folder/log" 2>&1 &
    child=$!; wait $child; status=$?
    [ $status -ne 0 ] && [ $status -ne 5 ] && exit $status
    nice -n 19 "$python" training/progress.py "$folder/data" "checkpoint:$folder/reader" "$folder/progress.jsonl" \
        >>"$folder/log" 2>&1 &
    child=$!; wait $child
    [ $status -eq 0 ] && exit 0
done
