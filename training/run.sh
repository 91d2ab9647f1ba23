#!/usr/bin/env bash
# Train the reader unattended: two hours at a time, with an evaluation after each, until the preset's steps are done.
#
#   training/run.sh FOLDER        # FOLDER/data as prepare.py wrote it; FOLDER/reader is the run; FOLDER/log is the log
#
# Stop it with `kill $(cat FOLDER/pid)`. The same command resumes from the last checkpoint. See training/README.md.
set -uo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath "$1"); shift
python=${PYTHON:-.venv/bin/python}
# tcmalloc keeps freed memory. Where the first touch of a page is slow, as in many virtual machines, a step takes twice as
# long with glibc's allocator (LOG.md).
for library in /usr/lib/*/libtcmalloc_minimal.so.4; do
    [ -e "$library" ] && export LD_PRELOAD=$library TCMALLOC_RELEASE_RATE=0
done
# On a processor with bfloat16 instructions a step takes two fifths of the time; on others bfloat16 is slower (LOG.md).
precision=float32
grep -qE "avx512_bf16|amx_bf16" /proc/cpuinfo && precision=bfloat16
begun=$folder/reader/config.json # a resumed run keeps its precision, also on another machine
[ -e "$begun" ] && precision=$(sed -n 's/.*"precision": "\([a-z0-9]*\)".*/\1/p' "$begun")
export OMP_WAIT_POLICY=passive # a thread must not spin while the one it waits for is suspended
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
