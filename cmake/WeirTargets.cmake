# Components and programs, each built twice:
#   shipped  NAME           hidden symbols; goes into libweir and the installed programs
#   testing  NAME_testing   WEIR_TESTING=1: all symbols visible, crash points; what the tests link

# weir_add_component(NAME SOURCES a.c b.c [LINKS weir_x PkgConfig::Y ...])
function(weir_add_component NAME)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "SOURCES;LINKS")
  add_library(${NAME} STATIC ${ARG_SOURCES})
  target_compile_options(${NAME} PRIVATE -fvisibility=hidden $<$<BOOL:${WEIR_LTO}>:-flto=auto -ffat-lto-objects>)
  _weir_finish(${NAME} "" ${ARG_LINKS})
  if(WEIR_BUILD_TESTS)
    add_library(${NAME}_testing STATIC EXCLUDE_FROM_ALL ${ARG_SOURCES})
    target_compile_definitions(${NAME}_testing PUBLIC WEIR_TESTING=1)
    _weir_finish(${NAME}_testing _testing ${ARG_LINKS})
  endif()
endfunction()

# weir_add_program(NAME SOURCES main.c LINKS weird_core ... [TARGET weir_tool] [TESTING_LINKS ...])
# Makes the programs NAME and NAME_testing. TARGET names the shipped one's target where NAME is taken by a library;
# TESTING_LINKS stands in for LINKS in the testing program where the testing variant of a link has another name.
function(weir_add_program NAME)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "TARGET" "SOURCES;LINKS;TESTING_LINKS")
  if(NOT ARG_TARGET)
    set(ARG_TARGET ${NAME})
  endif()
  if(NOT ARG_TESTING_LINKS)
    set(ARG_TESTING_LINKS ${ARG_LINKS})
  endif()
  add_executable(${ARG_TARGET} ${ARG_SOURCES})
  set_target_properties(${ARG_TARGET} PROPERTIES OUTPUT_NAME ${NAME}
    INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  _weir_finish(${ARG_TARGET} "" ${ARG_LINKS})
  install(TARGETS ${ARG_TARGET} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  if(WEIR_BUILD_TESTS)
    add_executable(${NAME}_testing ${ARG_SOURCES})
    target_compile_definitions(${NAME}_testing PRIVATE WEIR_TESTING=1)
    _weir_finish(${NAME}_testing _testing ${ARG_TESTING_LINKS})
  endif()
endfunction()

# Internal includes start at the top folder ("ringbuf/access.h"), the public one is <weir.h>.
function(_weir_finish TARGET SUFFIX)
  target_include_directories(${TARGET} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
  foreach(link IN LISTS ARGN)
    if(SUFFIX AND TARGET ${link}${SUFFIX})
      target_link_libraries(${TARGET} PRIVATE ${link}${SUFFIX})
    elseif(TARGET ${link})
      target_link_libraries(${TARGET} PRIVATE ${link})
    else()
      message(FATAL_ERROR "${TARGET} links ${link}, which there is not")
    endif()
  endforeach()
endfunction()
