# Release builds of sluice-proxy are optimised across the rooms of the data path: a request crosses seven of them, and most
# calls between two are a few instructions each (docs/performance.md has what it brings). The objects carry both forms, so that
# tests link the ordinary one in no time; only the proxy's link reads the other.
option(SLUICE_LTO "optimise sluice-proxy across the rooms of its data path in release builds" ON)
set(SLUICE_DATA_PATH base stats log policy routing net http upstream filter telemetry proxy)
if(SLUICE_SANITIZE OR NOT CMAKE_BUILD_TYPE STREQUAL "Release" OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  set(SLUICE_LTO OFF)
endif()

function(sluice_lto_objects)
  if(NOT SLUICE_LTO)
    return()
  endif()
  foreach(target ${ARGN})
    get_target_property(type ${target} TYPE)
    if(NOT type STREQUAL "INTERFACE_LIBRARY")
      target_compile_options(${target} PRIVATE -flto=thin -ffat-lto-objects)
    endif()
  endforeach()
endfunction()

function(sluice_lto_program target)
  if(SLUICE_LTO)
    target_link_options(${target} PRIVATE -flto=thin -Wl,--fat-lto-objects,-z,keep-text-section-prefix -Wl,--thinlto-cache-dir=${CMAKE_BINARY_DIR}/lto)
  endif()
endfunction()
