/*
 * Adds a search domain to what containers get for name service, and refuses those that want certain host ports:
 * `annotate` in C, a command. What it does stands in the Rust one (`../rust`).
 *
 * JSON by yyjson. Numbers are read as text, so that those that only pass through keep their digits.
 */
#include "wasmhook.h"
#include "yyjson.h"

#include <stdbool.h>
#include <string.h>

struct settings {
    yyjson_val *search;         /* NULL: none */
    yyjson_val *forbidden_ports;
};

static bool absent(yyjson_val *value)
{
    return value == NULL || yyjson_is_null(value);
}

static bool is_text(yyjson_val *value, const char *text)
{
    return yyjson_equals_str(value, text);
}

/* The port, or -1 where there is none: digits of 0 to 65535. */
static int port(yyjson_val *value)
{
    const char *digits = yyjson_get_raw(value);
    size_t length = digits == NULL ? 0 : yyjson_get_len(value);
    if (length < 1 || length > 5 || strspn(digits, "0123456789") < length)
        return -1;
    long number = strtol(digits, NULL, 10);
    return number <= 65535 ? (int)number : -1;
}

static struct settings read_settings(yyjson_val *config)
{
    struct settings settings = {0};
    if (!yyjson_is_obj(config))
        wasmhook_broken("`config` of this hook: not an object");
    size_t at, count;
    yyjson_val *key, *value;
    yyjson_obj_foreach(config, at, count, key, value) {
        if (is_text(key, "search"))
            settings.search = absent(value) ? NULL : value;
        else if (is_text(key, "forbiddenPorts"))
            settings.forbidden_ports = absent(value) ? NULL : value;
        else
            wasmhook_broken("`config.%s` is unknown: write `search` or `forbiddenPorts`", yyjson_get_str(key));
    }
    if (settings.search != NULL && !yyjson_is_str(settings.search))
        wasmhook_broken("`config.search`: not a string");
    if (settings.forbidden_ports != NULL && !yyjson_is_arr(settings.forbidden_ports))
        wasmhook_broken("`config.forbiddenPorts`: not a list");
    yyjson_arr_foreach(settings.forbidden_ports, at, count, value) {
        if (port(value) < 0)
            wasmhook_broken("`config.forbiddenPorts[%zu]`: not a port", at);
    }
    return settings;
}

static bool is_forbidden(const struct settings *settings, int wanted)
{
    size_t at, count;
    yyjson_val *value;
    yyjson_arr_foreach(settings->forbidden_ports, at, count, value) {
        if (port(value) == wanted)
            return true;
    }
    return false;
}

/* podman writes `hostPort`, containerd `HostPort`. */
static yyjson_val *host_port(yyjson_val *mapping)
{
    yyjson_val *value = yyjson_obj_get(mapping, "hostPort");
    return absent(value) ? yyjson_obj_get(mapping, "HostPort") : value;
}

static void pre(const struct settings *settings, yyjson_val *request)
{
    yyjson_val *mappings = yyjson_ptr_get(request, "/config/runtimeConfig/portMappings");
    if (!absent(mappings) && !yyjson_is_arr(mappings))
        wasmhook_broken("`runtimeConfig.portMappings`: not a list");
    size_t at, count;
    yyjson_val *mapping;
    yyjson_arr_foreach(mappings, at, count, mapping) {
        yyjson_val *value = host_port(mapping);
        if (absent(value))
            continue;
        int wanted = port(value);
        if (wanted < 0)
            wasmhook_broken("`runtimeConfig.portMappings[%zu]`: a host port that is none", at);
        if (is_forbidden(settings, wanted)) {
            fprintf(stderr, "refused host port %d\n", wanted);
            printf("{\"verdict\": \"deny\", \"error\": {\"code\": 100, "
                   "\"msg\": \"host port %d is not allowed here\", \"details\": \"\"}}\n", wanted);
            return;
        }
    }
    puts("{\"verdict\": \"proceed\"}");
}

/* The member of this name, which must be what `is` says; `absent` where it is absent or null, put into `object`. */
static yyjson_mut_val *member(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *name,
                              bool (*is)(yyjson_mut_val *), yyjson_mut_val *fresh)
{
    yyjson_mut_val *value = yyjson_mut_obj_get(object, name);
    if (value != NULL && !yyjson_mut_is_null(value)) {
        if (!is(value))
            wasmhook_broken("`%s` of the result has another type than it should", name);
        return value;
    }
    yyjson_mut_obj_put(object, yyjson_mut_str(doc, name), fresh);
    return fresh;
}

static void post(const struct settings *settings, yyjson_val *request)
{
    yyjson_val *result = yyjson_ptr_get(request, "/outcome/result");
    if (settings->search == NULL || result == NULL) {
        puts("{\"verdict\": \"keep\"}");
        return;
    }
    const char *search = yyjson_get_str(settings->search);
    size_t length = yyjson_get_len(settings->search);
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *changed = yyjson_val_mut_copy(doc, result);
    yyjson_mut_val *dns = member(doc, changed, "dns", yyjson_mut_is_obj, yyjson_mut_obj(doc));
    yyjson_mut_val *domains = member(doc, dns, "search", yyjson_mut_is_arr, yyjson_mut_arr(doc));
    size_t at, count;
    yyjson_mut_val *domain;
    yyjson_mut_arr_foreach(domains, at, count, domain) {
        if (yyjson_mut_equals_strn(domain, search, length)) {
            puts("{\"verdict\": \"keep\"}");
            return;
        }
    }
    yyjson_mut_val *verdict = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, verdict);
    if (!yyjson_mut_arr_add_strn(doc, domains, search, length)
        || !yyjson_mut_obj_add_str(doc, verdict, "verdict", "rewrite")
        || !yyjson_mut_obj_add_val(doc, verdict, "result", changed)
        || !yyjson_mut_write_fp(stdout, doc, YYJSON_WRITE_NOFLAG, NULL, NULL))
        wasmhook_broken("no memory for the result (raise `limits.memory`)");
}

int main(void)
{
    size_t length;
    char *text = wasmhook_request(&length);
    yyjson_read_err error;
    yyjson_doc *doc = yyjson_read_opts(text, length, YYJSON_READ_NUMBER_AS_RAW, NULL, &error);
    if (doc == NULL)
        wasmhook_broken("the request is not JSON: %s at byte %zu", error.msg, error.pos);
    yyjson_val *request = yyjson_doc_get_root(doc);
    struct settings settings = read_settings(yyjson_obj_get(request, "hookConfig"));
    bool before = is_text(yyjson_obj_get(request, "phase"), "pre");
    if (!is_text(yyjson_obj_get(request, "verb"), "ADD"))
        puts(before ? "{\"verdict\": \"proceed\"}" : "{\"verdict\": \"keep\"}");
    else if (before)
        pre(&settings, request);
    else
        post(&settings, request);
}
