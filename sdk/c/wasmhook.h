/*
 * A wasmhook hook in C: a command that reads one request from stdin and prints one verdict to stdout.
 *
 *     #include "wasmhook.h"
 *
 *     int main(void)
 *     {
 *         size_t length;
 *         char *request = wasmhook_request(&length);
 *         …
 *         puts("{\"verdict\": \"proceed\"}");
 *     }
 *
 * Compile with `zig cc --target=wasm32-wasi`, or with clang and wasi-libc. The documents are described in
 * `sdk/command.schema.json`; take whichever JSON library you like. What goes to stderr goes to wasmhook's log.
 * Memory is never freed here: the command ends with its verdict.
 */
#ifndef WASMHOOK_H
#define WASMHOOK_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Performs a call, JSON of this length, and returns the length of its reply. */
__attribute__((import_module("wasmhook"), import_name("call")))
int32_t wasmhook_host_call(const char *call, size_t length);

/* Copies as much of the last reply as fits and returns how much that was. */
__attribute__((import_module("wasmhook"), import_name("reply")))
int32_t wasmhook_host_reply(char *reply, size_t capacity);

/* The hook is broken, and this is why: one line for a person. To refuse a container, print the verdict `deny`. */
__attribute__((noreturn, format(printf, 1, 2)))
static inline void wasmhook_broken(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

/* `memory` with room for this many bytes. */
static inline char *wasmhook_room(char *memory, size_t size)
{
    memory = realloc(memory, size);
    if (memory == NULL)
        wasmhook_broken("no memory for %zu bytes (raise `limits.memory`)", size);
    return memory;
}

/* All of stdin, with a 0 behind it. */
static inline char *wasmhook_request(size_t *length)
{
    size_t capacity = 1 << 16;
    char *text = wasmhook_room(NULL, capacity);
    *length = 0;
    for (;;) {
        *length += fread(text + *length, 1, capacity - 1 - *length, stdin);
        if (*length < capacity - 1)
            break;
        capacity *= 2;
        text = wasmhook_room(text, capacity);
    }
    if (ferror(stdin))
        wasmhook_broken("stdin cannot be read");
    text[*length] = 0;
    return text;
}

/*
 * Calls the host: `{"operation": "clock.now-ns", "input": {}}`. Returns the reply, `{"ok": …}` or `{"failure": …}`, with
 * a 0 behind it.
 */
static inline char *wasmhook_call(const char *call, size_t length, size_t *reply_length)
{
    int32_t size = wasmhook_host_call(call, length);
    if (size < 0)
        wasmhook_broken("the host gave no reply to %.*s", (int)length, call);
    char *reply = wasmhook_room(NULL, (size_t)size + 1);
    *reply_length = (size_t)wasmhook_host_reply(reply, (size_t)size);
    reply[*reply_length] = 0;
    return reply;
}

#endif
