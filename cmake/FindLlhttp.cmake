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
  add_library(Llhttp::llhttp ALIAS llhttp)
endif()
