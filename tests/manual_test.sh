#!/bin/sh
# manual_test.sh TOP: the manual pages say what there is.
#  - each command has a page, with each of its options and members in JSON, and no option that it has not;
#  - each function, constant, structure member and error of weir.h is in a page of section 3;
#  - pages refer to pages that exist.
set -u
man=$1/docs/man header=$1/include/weir.h weir=$WEIR_BIN/weir
failed=0

# fail WHAT [LINES]: unless LINES is given and empty
fail() {
  [ "${2-x}" ] || return 0
  echo "FAILED: $1 ${2-}"
  failed=1
}

# Options that a help text prints, and those that a page describes in a list.
printed_options() {
  sed -n 's/^  \(--[a-z-]*\).*/\1/p' | sort -u
}
described_options() {
  sed -n 's/^\.It Fl Fl \([a-z-]*\).*/--\1/p' "$1" | sort -u
}

echo '-- commands and their options'
"$weir" --help >help || fail 'weir --help'
printed_options <help >common
[ "$(described_options "$man/weir.1")" = "$(grep -vx -e --version common)" ] ||
  fail 'weir.1: its options are not those of weir --help'
grep -q 'Fl Fl version' "$man/weir.1" || fail 'weir.1 lacks --version'
sed -n 's/^  \([a-z][a-z ]*[a-z]\)  *[A-Z].*/\1/p' help >commands
[ "$(wc -l <commands)" -ge 8 ] || fail 'weir --help lists too few commands'
while read -r noun verb; do
  page=$man/weir-$noun.1
  [ -e "$page" ] || { fail "there is no $page"; continue; }
  grep -q "Xr weir-$noun 1" "$man/weir.1" || fail "weir.1 does not refer to weir-$noun"
  # shellcheck disable=SC2086 # no verb, no word
  "$weir" $noun $verb --help | printed_options | comm -23 - common >>"options-$noun"
done <commands
for list in options-*; do
  page=$man/weir-${list#options-}.1
  described_options "$page" >described
  sort -u "$list" | comm -23 - described >lacks
  sort -u "$list" | comm -13 - described >invents
  fail "$page lacks" "$(cat lacks)"
  fail "$page describes what is no option:" "$(cat invents)"
done
"$WEIR_BIN/weird" --help | printed_options >printed
[ "$(described_options "$man/weird.8")" = "$(cat printed)" ] || fail 'weird.8: its options are not those of weird --help'
"$WEIR_BIN/weird" --check-config | sed -n 's/^#\([a-z_]*\) = .*/\1/p' | sort -u >keys
sed -n 's/^\.It Ic \([a-z_]*\) No = .*/\1/p' "$man/weird.conf.5" | sort -u >described
[ -s keys ] && cmp -s keys described || fail 'weird.conf.5: its keys are not those of weird --check-config'

echo '-- members in JSON'
# members PAGE JSON: each member is in the page
members() {
  [ -s "$2" ] || fail "$1: no JSON"
  for member in $(tr '{,[' '\n\n\n' <"$2" | sed -n 's/^"\([a-z_0-9]*\)":.*/\1/p' | sort -u); do
    grep -qE "^\.It (.* )?$member( |\$)" "$man/$1" || fail "$1 lacks the member" "$member"
  done
}
"$weir" ring create a --memory --when-full drop-new --json >ring
printf '\377\nb\n' | "$weir" pub a --as name --key k --json >published
"$weir" sub a --count 2 --json | sed 's/_base64//' >messages
mkfifo pipe
"$weir" pub a <pipe &
publisher=$!
exec 3>pipe
"$weir" sub a --from end &
reader=$!
until "$weir" stat a --json --interval 0.01 --count 1 >report && grep '"role":"publisher"' report |
  grep -q '"role":"reader"'; do
  kill -0 "$publisher" && kill -0 "$reader" || break
done
kill "$publisher" "$reader"
wait "$publisher" "$reader"
exec 3>&-
for member in $(tr '{,' '\n\n' <ring | sed -n 's/^"\([a-z_]*\)":.*/\1/p'); do
  sed "s/\"$member\"://" report >rest # they are in weir-ring.1
  mv rest report
done
"$weir" group create a workers --json >group
"$weir" group rm a workers || fail 'weir group rm'
members weir-group.1 group
members weir-ring.1 ring
members weir-pub.1 published
members weir-sub.1 messages
members weir-stat.1 report
"$weir" ring create b
"$WEIR_BIN/weird" --journal "$PWD/journal" &
daemon=$!
until "$weir" daemon status --json >status && grep '"ring":"b"' status; do kill -0 "$daemon" || break; done
members weir-daemon.1 status
echo x | "$weir" pub b --as name --confirm durable >confirmed
"$weir" sub b --save mine --count 1 >received
"$weir" journal pin b --name a --to 64
"$weir" journal info b --json >info
"$weir" journal verify b --json >verified
members weir-journal.1 info
members weir-journal.1 verified
"$weir" daemon stop || fail 'weir daemon stop'
wait "$daemon"
"$weir" ring rm b
"$weir" ring rm a

echo '-- functions, constants, members and errors of weir.h'
pages=$(echo "$man"/*.3)
for function in $(sed -n 's/^ *\(weir_[a-z_]*\);$/\1/p' "$1/client/weir.map"); do
  # shellcheck disable=SC2086 # a list
  page=$(grep -lE "^\.Nm $function( ,)?\$" $pages)
  [ "$page" ] || { fail "no page is about $function()"; continue; }
  grep -qE "^\.F[no] $function( |\$)" "$page" || fail "$page: no synopsis of $function()"
done
sed -e 's@//.*@@' -e 's@/\*.*\*/@@g' "$header" | awk '/^ *\/?\*/ { next } { print }' >code
awk '/^struct [a-z_]* \{/ { inside = 1; next } /^};/ { inside = 0 } inside' code |
  grep -oE '[a-z_0-9]+(\[[^]]*\])?[;,]' | sed 's/[^a-z_0-9].*//' >names
grep -oE '\bWEIR_[A-Z_]+\b' code | grep -vx WEIR_H >>names
[ "$(wc -l <names)" -ge 100 ] || fail 'too few names were found in weir.h'
for name in $(sort -u names); do
  # shellcheck disable=SC2086
  grep -qwe "$name" $pages || fail "no page of section 3 has" "$name"
done
for error in $(sed '/^#ifndef/q' "$header" | grep -oE '(^| )-E[A-Z]+' | sort -u); do
  grep -qE "^\.It Er $error( |\$)" "$man/weir.3" || fail "weir.3 lacks" "$error"
done

echo '-- references'
cat "$man"/*.[1-8] | sed -n 's/^\.Xr \(weir[a-z_-]*\) \([1-8]\).*/\1 \2/p' | sort -u >references
while read -r name section; do
  [ -e "$man/$name.$section" ] || grep -qE "^\.Nm $name( ,)?\$" "$man"/*."$section" ||
    fail "a page refers to" "$name($section)"
done <references
[ "$(wc -l <references)" -ge 10 ] || fail 'too few references were found'
exit "$failed"
