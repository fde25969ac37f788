// SPDX-License-Identifier: GPL-2.0-or-later
/* Log lines on standard error, for programs only: libraries return errors, they do not log.
 * Thread safe. A line has a level and a text; under systemd or Kubernetes (no terminal) it also has
 * a time. */
#pragma once

typedef enum LogLevel {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
} LogLevel;

void log_set_program(const char *name); /* static string; begins every line */
void log_set_level(LogLevel level);     /* default: info */
void log_message(LogLevel level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)
