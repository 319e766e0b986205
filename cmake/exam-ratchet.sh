#!/bin/sh
# exam-ratchet.sh EXAM_DIR: runs the cases of tests/exam.pass; fails when one of them no longer passes.
set -eu
exam=$1
root=$(cd "$(dirname "$0")/.." && pwd)
total=$(grep -cvE '^(#|$)' "$root/tests/exam.pass" || true)
if [ ! -d "$exam" ]; then
  echo "exam: 0 of N run, no exam folder"
  exit 0
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
code=0
/usr/bin/python3 "$exam/all.py" --bin "$root/build/bin" --ratchet "$root/tests/exam.pass" >"$log" 2>&1 || code=$?
cat "$log"
passed=$(awk 'match($0, /[0-9]+ passed/) { n = substr($0, RSTART) + 0 } END { print n + 0 }' "$log")
skipped=$(grep -c '^SKIP' "$log" || true)
echo "exam: $passed of $total passed, $skipped skipped"
[ $code = 0 ] && [ $((passed + skipped)) -ge "$total" ]
