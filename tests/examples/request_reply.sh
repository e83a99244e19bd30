#!/bin/sh
# request_reply.sh PROGRAM: every question gets its own answer, also from a server that started later, or again.
set -eu
server=
trap '[ -z "$server" ] || kill -9 "$server" 2>/dev/null || true' EXIT

# Two have asked before anybody serves.
"$WEIR_BIN/weir" ring create requests --memory --when-full drop-old
"$1" 'who is there?' nobody >first &
first=$!
"$1" hello >second &
second=$!
"$WEIR_BIN/weir" sub requests --count 2 >/dev/null
"$1" serve >served &
server=$!
wait "$first"
wait "$second"

kill -9 "$server"
wait "$server" || [ $? -eq 137 ]
"$1" 'and now?' >third &
third=$!
"$1" serve >served &
server=$!
wait "$third"
kill "$server"
wait "$server"
server=

cat >expected <<END
WHO IS THERE?
NOBODY
HELLO
AND NOW?
END
cat first second third | diff -u expected -
# Killed between a reply and the save behind it, the first one left that request to be answered again.
grep -qx '[12] requests answered' served
