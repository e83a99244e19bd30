# `cmake --build build/release --target format` lays out every C and C++ file as .clang-format says.
find_program(WEIR_CLANG_FORMAT clang-format)
mark_as_advanced(WEIR_CLANG_FORMAT)
if(WEIR_CLANG_FORMAT)
  add_custom_target(format
    COMMAND ${PROJECT_SOURCE_DIR}/cmake/list-sources.sh ${PROJECT_SOURCE_DIR} | xargs -0 ${WEIR_CLANG_FORMAT} -i
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    VERBATIM)
endif()
