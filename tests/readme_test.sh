#!/bin/sh
# readme_test.sh TOP CC: what README.md and docs/*.md show is there, and works.
#  - files and folders that they name or link to exist;
#  - the C program is examples/hello.c, and each example compiles as README.md says, with a user's flags;
#  - the shell sample runs to its end, and loses no message though it kills who drains and who reads.
set -u
top=$1 cc=$2
failed=0

fail() {
  echo "FAILED: $1"
  failed=1
}

# block LANGUAGE: what stands in the fences of that language
block() {
  awk -v fence="\`\`\`$1" '$0 == fence { inside = 1; next } $0 == "```" { inside = 0 } inside' "$top/README.md"
}

# exists PATTERN WHERE
exists() {
  # shellcheck disable=SC2086 # a pattern
  ls -d $1 >/dev/null 2>&1 || fail "$2: there is no $1"
}

echo '-- names'
folders=$(cd "$top" && for folder in */; do printf '%s|' "${folder%/}"; done)
for page in "$top"/README.md "$top"/CHANGELOG.md "$top"/docs/*.md; do
  for link in $(grep -oE '\]\([^)]*\)' "$page" | sed -e 's/^](//' -e 's/)$//' -e 's/#.*//'); do
    case $link in http*://*) ;; *) exists "$(dirname "$page")/$link" "$page" ;; esac
  done
  for name in $(grep -oE "\`(${folders%|})/[^\`[:space:]]*\`" "$page" | tr -d '`'); do
    exists "$top/$name" "$page"
  done
done

echo '-- C'
block c >hello.c
sed -n '/^#include/,$p' "$top/examples/hello.c" | diff -u hello.c - ||
  fail 'README.md (-) and examples/hello.c (+) disagree'
for program in hello.c "$top"/examples/*.c; do
  "$cc" -Wall -Wextra -Werror -I"$top/include" -fsyntax-only "$program" || fail "$program"
done
for program in "$top"/examples/*.c; do
  grep -qF "examples/${program##*/})" "$top/README.md" || fail "README.md does not mention ${program##*/}"
done

echo '-- shell'
block sh | sed -e "s@/dev/shm/try@$WEIR_BUS@" -e "s@/tmp/try-journal@$PWD/journal@" >sample.sh
[ "$(wc -l <sample.sh)" -ge 15 ] || fail 'README.md has no shell sample'
cat >run.sh <<'END'
weird= billing=
trap 'kill -9 $weird $billing 2>/dev/null' EXIT
set -eu
. ./sample.sh
wait "$weird"
trap - EXIT
END
if PATH=$WEIR_BIN:$PATH sh run.sh >output 2>log; then
  seq 1000010 | sort >expected
  sort -u billed | comm -23 expected - >lost
  [ ! -s lost ] || fail "the subscriber that was killed has missed $(wc -l <lost) messages"
  grep -q '^published 1000000 messages, .*, durable$' output || fail 'it did not publish a million'
  grep -q '^published 10 messages, .*, durable$' output || fail 'it did not publish 10 more, and no others'
  printf '1\n2\n3\n' >three
  grep -x '[123]' output | cmp - three || fail 'the replay does not begin at the start'
  grep -q '^{"position":0,"time":"[^"]*","tag":0,"sequence":1,' output || fail 'JSON is not as README.md shows it'
else
  fail "the shell sample ended with $?"
fi
[ "$failed" -eq 0 ] || cat output log
exit "$failed"
