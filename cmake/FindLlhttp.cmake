# Debian ships llhttp as three C files and a header (package node-llhttp). The strict mode is a compile-time switch of
# sources and includers alike, so both get it from this one target.
find_path(Llhttp_INCLUDE_DIR llhttp.h PATHS /usr/share/include/llhttp)
find_path(Llhttp_SOURCE_DIR llhttp.c PATHS /usr/share/llhttp /usr/share/llhttp/src NO_DEFAULT_PATH)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Llhttp REQUIRED_VARS Llhttp_INCLUDE_DIR Llhttp_SOURCE_DIR)
if(Llhttp_FOUND AND NOT TARGET Llhttp::llhttp)
  file(GLOB Llhttp_SOURCES ${Llhttp_SOURCE_DIR}/*.c)
  add_library(llhttp STATIC ${Llhttp_SOURCES})
  target_include_directories(llhttp SYSTEM PUBLIC ${Llhttp_INCLUDE_DIR})
  target_compile_definitions(llhttp PUBLIC LLHTTP_STRICT_MODE=1)
  # The generated parser has a second way through long runs of one character class, which the compiler only takes for a
  # processor with SSE 4.2. Both are built, and http/second_reading.cc chooses where it runs.
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    file(STRINGS ${Llhttp_SOURCE_DIR}/llhttp.c Llhttp_FUNCTIONS REGEX "^int llhttp__internal_")
    list(TRANSFORM Llhttp_FUNCTIONS REPLACE "^int (llhttp__internal_[a-z0-9_]+).*" "\\1=\\1_sse42")
    list(REMOVE_DUPLICATES Llhttp_FUNCTIONS)
    add_library(llhttp_sse42 OBJECT ${Llhttp_SOURCE_DIR}/llhttp.c)
    target_include_directories(llhttp_sse42 SYSTEM PRIVATE ${Llhttp_INCLUDE_DIR})
    target_compile_options(llhttp_sse42 PRIVATE -msse4.2)
    target_compile_definitions(llhttp_sse42 PRIVATE LLHTTP_STRICT_MODE=1 ${Llhttp_FUNCTIONS})   # names of its own
    set_target_properties(llhttp_sse42 PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_sources(llhttp PRIVATE $<TARGET_OBJECTS:llhttp_sse42>)
    target_compile_definitions(llhttp PUBLIC SLUICE_LLHTTP_SSE42=1)
  endif()
  add_library(Llhttp::llhttp ALIAS llhttp)
endif()
