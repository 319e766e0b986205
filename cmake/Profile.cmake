# Release builds know how often the data path's branches were taken under load: bench/profile.proftext, made by bench/profile.sh. It
# changes the code's layout and inlining, never what it does.
option(SLUICE_PROFILE "optimise release builds with bench/profile.proftext" ON)
# Functions of one file are told apart by its name alone, not by where this folder lies.
set(SLUICE_PROFILE_NAMES "-mllvm -static-func-full-module-prefix=0")
find_program(LLVM_PROFDATA llvm-profdata-19)
set(profile ${CMAKE_SOURCE_DIR}/bench/profile.proftext)
if(SLUICE_PROFILE AND NOT SLUICE_SANITIZE AND CMAKE_BUILD_TYPE STREQUAL "Release" AND LLVM_PROFDATA AND EXISTS ${profile})
  file(SHA256 ${profile} version)
  string(SUBSTRING ${version} 0 12 version)
  set(merged ${CMAKE_BINARY_DIR}/profile-${version}.profdata)   # a name of its own: objects of two profiles do not link together
  execute_process(COMMAND ${LLVM_PROFDATA} merge -o ${merged} ${profile} RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "llvm-profdata does not read ${profile}: make it anew (bench/profile.sh) or configure with -DSLUICE_PROFILE=OFF")
  endif()
  add_compile_options(-fprofile-use=${merged} "SHELL:${SLUICE_PROFILE_NAMES}" -Wno-profile-instr-unprofiled -Wno-profile-instr-out-of-date
                      -Wno-backend-plugin)   # two functions of one name: the other one is compiled as without a profile
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${profile})
endif()
