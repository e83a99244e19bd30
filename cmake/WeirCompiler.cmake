# What every file of the project is compiled with. Portable baseline: no -march.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")  # asserts stay on: they are cheap where they stand
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g")

add_compile_definitions($<$<COMPILE_LANGUAGE:C>:_GNU_SOURCE>)  # g++ defines it by itself
add_compile_options(
  -Wall -Wextra -Wvla -Wformat=2
  # Not of the tests: in C++ it takes a function named as a struct (shm_create) for a fault. weir.h has no such names.
  $<$<COMPILE_LANGUAGE:C>:-Wshadow>
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>
  $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>
  $<$<COMPILE_LANGUAGE:C>:-Wconversion>
  $<$<COMPILE_LANGUAGE:C>:-Wno-sign-conversion>
  # __FILE__, as in assert(), starts at the top folder wherever the tree lies.
  -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=
  -fno-omit-frame-pointer)
if(WEIR_WERROR)
  add_compile_options(-Werror)
endif()

if(WEIR_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "WEIR_FUZZ needs clang: cmake --preset fuzz, or -DCMAKE_C_COMPILER=clang")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

if(WEIR_SANITIZE)
  add_compile_options(-O1 -fsanitize=${WEIR_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${WEIR_SANITIZE})
  if(WEIR_SANITIZE MATCHES "thread" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # gcc tells at each fence that the sanitizer does not model it; the edges that rest on one are the model's to check.
    add_compile_options(-Wno-tsan)
  endif()
endif()

# The shipped library is optimised as a whole (client/CMakeLists.txt). Fat objects: the daemon links them as they are.
if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug" AND NOT WEIR_SANITIZE)
  set(WEIR_LTO ON)
endif()
