# SPDX-License-Identifier: GPL-2.0-or-later
# Test kinds: unit (g_test programs), fuzz-replay (a libFuzzer target over its corpus) and scripts.

# What captures has the machine to itself, unless it says CALM: it judges no rates and counts nothing of the whole machine. The
# others run two at a time. A test in the lab mostly waits for its cluster, so tests of label "dissect" (tshark on files) run
# beside those, once the lab is up.
function(remora_alone name calm)
    foreach(label ${ARGN})
        if(label MATCHES "^(bpf|e2e)$")
            if(NOT calm)
                set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
            endif()
        elseif(label STREQUAL "cluster")
            set_tests_properties(${name} PROPERTIES RESOURCE_LOCK lab)
        elseif(label STREQUAL "dissect")
            set_tests_properties(${name} PROPERTIES DEPENDS cluster-up)
        endif()
    endforeach()
endfunction()

# remora_unit_test(NAME SOURCES... LIBS...): a g_test program, CTest label "unit".
function(remora_unit_test name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LIBS;LABELS" ${ARGN})
    add_executable(test-${name} ${ARG_SOURCES})
    target_link_libraries(test-${name} PRIVATE remora_flags ${ARG_LIBS} PkgConfig::GLIB)
    add_test(NAME ${name} COMMAND test-${name})
    if(NOT ARG_LABELS)
        set(ARG_LABELS unit)
    endif()
    # 77 is how a test that cannot run here says so; it then has printed why.
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 300 SKIP_RETURN_CODE 77
        ENVIRONMENT "G_TEST_SRCDIR=${CMAKE_CURRENT_SOURCE_DIR};G_DEBUG=fatal-criticals")
    remora_alone(${name} FALSE ${ARG_LABELS})
endfunction()

# remora_fuzz_test(NAME SOURCES... LIBS... CORPUS dir): SOURCES define LLVMFuzzerTestOneInput.
# With REMORA_FUZZ it is a fuzzer; else every file of the corpus is replayed, label "fuzz-replay".
function(remora_fuzz_test name)
    cmake_parse_arguments(ARG "" "CORPUS" "SOURCES;LIBS" ${ARGN})
    if(REMORA_FUZZ)
        add_executable(fuzz-${name} ${ARG_SOURCES})
        target_link_options(fuzz-${name} PRIVATE -fsanitize=fuzzer)
        target_link_libraries(fuzz-${name} PRIVATE remora_flags ${ARG_LIBS})
    else()
        add_executable(fuzz-${name} ${ARG_SOURCES} "${PROJECT_SOURCE_DIR}/tests/fuzz-replay.c")
        target_link_libraries(fuzz-${name} PRIVATE remora_flags ${ARG_LIBS})
        add_test(NAME fuzz-replay-${name}
            COMMAND fuzz-${name} "${CMAKE_CURRENT_SOURCE_DIR}/${ARG_CORPUS}")
        set_tests_properties(fuzz-replay-${name} PROPERTIES LABELS fuzz-replay TIMEOUT 300)
    endif()
endfunction()

# remora_script_test(NAME [CALM] LABEL label COMMAND ...): an end-to-end test in Python or shell.
function(remora_script_test name)
    cmake_parse_arguments(ARG "CALM" "LABEL;TIMEOUT" "COMMAND" ${ARGN})
    if(NOT ARG_TIMEOUT)
        set(ARG_TIMEOUT 300)
    endif()
    add_test(NAME ${name} COMMAND ${ARG_COMMAND})
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT ${ARG_TIMEOUT}
        SKIP_RETURN_CODE 77 ENVIRONMENT
        "REMORA_BUILD=${PROJECT_BINARY_DIR};REMORA_PLUGIN_BUILD=${REMORA_PLUGIN_BUILD};REMORA_SOURCE=${PROJECT_SOURCE_DIR};PYTHONDONTWRITEBYTECODE=1")
    remora_alone(${name} ${ARG_CALM} ${ARG_LABEL})
endfunction()
