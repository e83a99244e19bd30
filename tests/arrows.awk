# arrows.awk: reads the C files and CMakeLists.txt of the folders, given relative to the top of the tree, and prints
# FILE:LINE: what is wrong for each breach of the arrows. No output: none.

BEGIN {
  # Folder: the folders of weir that it may include. <weir.h> counts as include.
  may["include"] = ""
  may["ringbuf"] = "ringbuf"
  may["shm"] = "shm"
  may["group"] = "group ringbuf"
  may["journal"] = "journal ringbuf"
  may["client"] = "client shm ringbuf group journal include"
  may["daemon"] = "daemon shm ringbuf group journal include"
  may["bench"] = "bench include"
  may["cli"] = "cli bench include"
  may["examples"] = "include"

  # Folder: the targets and packages that its CMakeLists.txt may name.
  links["ringbuf"] = "weir_ringbuf"
  links["shm"] = "weir_shm"
  links["group"] = "weir_group weir_ringbuf"
  links["journal"] = "weir_journal weir_ringbuf"
  links["client"] = "weir weir_static weir_client weir_shm weir_ringbuf weir_group weir_journal"
  links["daemon"] = "weird weird_core weir_shm weir_ringbuf weir_group weir_journal PkgConfig::URCU PkgConfig::URING PkgConfig::INIH PkgConfig::NUMA"
  links["bench"] = "weir_bench"
  links["cli"] = "weir weir_tool weir_bench weir_client PkgConfig::JANSSON"
  links["examples"] = "weir"

  # Header of another project: the folder that may see it.
  only["urcu"] = "daemon"
  only["jansson"] = "cli"
  only["ini[.]h"] = "daemon"
  only["numa"] = "daemon"

  # What a ring, or a group, may use: no system call, no malloc, no log. tests/symbols_test.sh asks the object code as well.
  ring_may = "assert.h errno.h limits.h stdbool.h stddef.h stdint.h string.h"

  memory_order = "(__atomic_|__ATOMIC_|__sync_|memory_order_|_Atomic|atomic_(load|store|exchange|fetch|compare|thread|signal))"
  calls = "(printf|fprintf|vprintf|vfprintf|puts|fputs|perror|syslog|exit|_exit|_Exit|quick_exit|abort|signal|sigaction)"
}

FNR == 1 {
  folder = FILENAME
  sub(/\/.*/, "", folder)
  in_comment = 0
  if (FILENAME ~ /CMakeLists\.txt$/)
    kind = "cmake"
  else
    kind = "c"
}

function breach(text) {
  print FILENAME ":" FNR ": " text
}

function has(list, word) {
  return index(" " list " ", " " word " ") > 0
}

# The line without comments; what stands in quotes is kept, for the includes.
function strip_comments(line,    out, at) {
  out = ""
  while (line != "") {
    if (in_comment) {
      at = index(line, "*/")
      if (at == 0)
        return out
      line = substr(line, at + 2)
      in_comment = 0
      continue
    }
    if (!match(line, /\/\*|\/\/|"|'/))
      return out line
    out = out substr(line, 1, RSTART - 1)
    line = substr(line, RSTART)
    if (substr(line, 1, 2) == "/*") {
      in_comment = 1
      line = substr(line, 3)
    } else if (substr(line, 1, 2) == "//") {
      return out
    } else if (match(line, /^"([^"\\]|\\.)*"/) || match(line, /^'([^'\\]|\\.)*'/)) {
      out = out substr(line, 1, RLENGTH)
      line = substr(line, RLENGTH + 1)
    } else {
      out = out substr(line, 1, 1)
      line = substr(line, 2)
    }
  }
  return out
}

function check_include(line,    name, quoted, target) {
  sub(/^[ \t]*#[ \t]*include[ \t]*/, "", line)
  quoted = line ~ /^"/
  name = substr(line, 2)
  sub(/[>"].*$/, "", name)

  if (name == "weir.h")
    target = "include"
  else if (quoted) {
    if (name !~ /^[a-z]+\/[a-z0-9_]+\.h$/) {
      breach("includes \"" name "\": write it with its folder, from the top")
      return
    }
    target = name
    sub(/\/.*/, "", target)
  } else if (name ~ /^(ringbuf|shm|group|journal|client|daemon|cli|bench)\//) {
    target = name
    sub(/\/.*/, "", target)
  } else {
    check_foreign(name)
    return
  }
  if (target == folder || has(may[folder], target))
    return
  # The one header that spells memory order is for whoever shares words with another thread or process.
  if (name == "ringbuf/access.h" && folder == "bench")
    return
  breach(folder "/ may not include " (target == "include" ? "weir.h" : target "/") " (" name ")")
}

function check_foreign(name,    key) {
  if (name ~ /stdatomic\.h|^atomic$|^threads\.h$/)
    breach("includes <" name ">: memory order is spelled in ringbuf/access.h alone")
  for (key in only)
    if (name ~ "^" key && folder != only[key])
      breach("includes <" name ">: only " only[key] "/ may")
  if (name ~ /^numa/) {
    if (numa_file != "" && numa_file != FILENAME)
      breach("includes <" name ">: " numa_file " does already, and one file is to know libnuma")
    numa_file = FILENAME
  }
  if ((folder == "ringbuf" || folder == "group") && !has(ring_may, name))
    breach("includes <" name ">: " folder "/ is algorithms over memory, without the system")
}

kind == "c" {
  line = strip_comments($0)
  if (line ~ /^[ \t]*#[ \t]*include/) {
    check_include(line)
    next
  }
  gsub(/"([^"\\]|\\.)*"/, "\"\"", line)
  if (FILENAME != "ringbuf/access.h") {
    if (line ~ "(^|[^A-Za-z0-9_])" memory_order)
      breach("spells a memory order: ringbuf/access.h alone may")
    rest = line
    gsub(/volatile[ \t]+sig_atomic_t/, "", rest)
    if (rest ~ /(^|[^A-Za-z0-9_])(__)?volatile(__)?([^A-Za-z0-9_]|$)/)
      breach("volatile: use the functions of ringbuf/access.h")
  }
  if (folder != "daemon" && line ~ /(^|[^A-Za-z0-9_])(rcu_(read|register|unregister|thread|assign|dereference|xchg|quiescent|barrier)|(call|synchronize|defer)_rcu|cds_)/)
    breach("RCU outside daemon/")
  if ((folder == "ringbuf" || folder == "shm" || folder == "group" || folder == "journal" || folder == "client") &&
      line ~ "(^|[^A-Za-z0-9_.>])" calls "[ \t]*\\(")
    breach("a library neither logs, nor exits, nor installs signal handlers")
}

# The programs of peers are a project of its own, outside of weir's build: they link what they measure.
kind == "cmake" && FILENAME !~ /^bench\/peers\// {
  line = $0
  sub(/#.*/, "", line)
  if (line ~ /target_link_libraries|link_libraries/ && folder != "client" && folder != "examples")
    breach("links by hand: the LINKS of weir_add_component and weir_add_program are PRIVATE and read by this test")
  gsub(/[^A-Za-z0-9_:-]/, " ", line)
  n = split(line, words, " ")
  for (i = 1; i <= n; i++) {
    word = words[i]
    sub(/_testing$/, "", word)
    if (word ~ /^(weir|weir_static|weir_tool|weird|weird_core|weir_(ringbuf|shm|group|journal|client|bench)|PkgConfig::.*)$/ &&
        !has(links[folder], word))
      breach(folder "/ may not link " word)
    if ((word ~ /^liburcu/ && folder != "daemon") || (word == "inih" && folder != "daemon") || (word == "jansson" && folder != "cli") || (word == "numa" && folder != "daemon"))
      breach(folder "/ may not look for " word)
  }
}
