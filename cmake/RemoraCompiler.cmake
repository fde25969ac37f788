# SPDX-License-Identifier: GPL-2.0-or-later
# Language level, warnings, hardening and sanitizers, the same for every target of ours.
include(CheckCCompilerFlag)
include(CheckIPOSupported)

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(remora_flags INTERFACE)
target_compile_definitions(remora_flags INTERFACE
    _GNU_SOURCE _FILE_OFFSET_BITS=64 REMORA_VERSION="${PROJECT_VERSION}"
    GLIB_VERSION_MIN_REQUIRED=GLIB_VERSION_2_68 GLIB_VERSION_MAX_ALLOWED=GLIB_VERSION_2_74)
target_include_directories(remora_flags INTERFACE "${PROJECT_SOURCE_DIR}")
target_compile_options(remora_flags INTERFACE
    -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
    -Wformat=2 -Wundef -Wwrite-strings -Wno-unused-parameter -fno-strict-aliasing)
if(REMORA_WERROR)
    target_compile_options(remora_flags INTERFACE -Werror)
endif()

if(REMORA_SANITIZE)
    target_compile_options(remora_flags INTERFACE
        -fsanitize=${REMORA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(remora_flags INTERFACE -fsanitize=${REMORA_SANITIZE})
else()
    target_compile_options(remora_flags INTERFACE -fstack-protector-strong)
    check_c_compiler_flag(-fstack-clash-protection REMORA_HAVE_STACK_CLASH)
    if(REMORA_HAVE_STACK_CLASH)
        target_compile_options(remora_flags INTERFACE -fstack-clash-protection)
    endif()
    check_c_compiler_flag(-fcf-protection REMORA_HAVE_CF_PROTECTION)
    if(REMORA_HAVE_CF_PROTECTION)
        target_compile_options(remora_flags INTERFACE -fcf-protection)
    endif()
    target_compile_options(remora_flags INTERFACE
        $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE$<SEMICOLON>-D_FORTIFY_SOURCE=2>)
    if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
        target_link_options(remora_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
    endif()
    if(CMAKE_BUILD_TYPE STREQUAL "Release")
        check_ipo_supported(RESULT REMORA_HAVE_LTO OUTPUT _ LANGUAGES C)
        set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ${REMORA_HAVE_LTO})
    endif()
endif()

# remora_library(NAME SOURCES... [LIBS...]): a static library of ours with our flags.
function(remora_library name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
    add_library(${name} STATIC ${ARG_SOURCES})
    target_link_libraries(${name} PUBLIC remora_flags ${ARG_LIBS})
endfunction()
