/* The program around a model: --input, --output, --bench, --info. */
#include "ds.h"
#include "linked.h"
#include "npy.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern const ds_model ds_program;

enum { MOST_FILES = 32, USAGE = 2, FAILED = 1 };

static const char help[] =
    "usage: PROGRAM [--input [NAME=]FILE.npy]... [--output [NAME=]FILE.npy]... [--bench RUNS] [--threads COUNT] [--info]\n";

typedef struct {
    const char *inputs[MOST_FILES], *outputs[MOST_FILES];
    int inputs_count, outputs_count, runs, threads;
    bool info;
} options;

static void say_to(int file, const char *word) {
    size_t size = strlen(word);
    while (size > 0) {
        ssize_t put = write(file, word, size);
        if (put <= 0) return;
        word += put;
        size -= (size_t)put;
    }
}

static void say(const char *word) { say_to(1, word); }

static void say_number(int64_t number) {
    char digits[24], *first = digits + sizeof digits - 1;
    bool negative = number < 0;
    *first = 0;
    uint64_t rest = negative ? 0 - (uint64_t)number : (uint64_t)number;
    do *--first = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (negative) *--first = '-';
    say(first);
}

static int fail(int code, const char *subject, const char *why) {
    say_to(2, "error: ");
    say_to(2, subject);
    say_to(2, why);
    say_to(2, "\n");
    return code;
}

static int fail_file(const char *path, const char *wrong) {
    say_to(2, "error: ");
    say_to(2, path);
    say_to(2, ": ");
    say_to(2, wrong);
    say_to(2, "\n");
    return FAILED;
}

/* A whole number from 1 to `most`; 0 for anything else. */
static int count_of(const char *word, int most) {
    int found = 0;
    for (; *word; word++) {
        if (*word < '0' || *word > '9' || found > most) return 0;
        found = found * 10 + (*word - '0');
    }
    return found <= most ? found : 0;
}

static int parse(int count, char **words, options *o) {
    for (int i = 1; i < count; i++) {
        const char *word = words[i];
        if (strcmp(word, "--info") == 0) {
            o->info = true;
            continue;
        }
        if (strcmp(word, "--help") == 0) {
            say(help);
            return -1;
        }
        bool known = strcmp(word, "--input") == 0 || strcmp(word, "--output") == 0 || strcmp(word, "--bench") == 0 ||
                     strcmp(word, "--threads") == 0;
        if (!known) return fail(USAGE, word, " is no option; --help lists them");
        if (i + 1 == count) return fail(USAGE, word, " needs a value");
        const char *value = words[++i];
        if (word[2] == 'i' || word[2] == 'o') {
            int *files = word[2] == 'i' ? &o->inputs_count : &o->outputs_count;
            if (*files == MOST_FILES) return fail(USAGE, word, " is given too often");
            (word[2] == 'i' ? o->inputs : o->outputs)[(*files)++] = value;
            continue;
        }
        int number = count_of(value, word[2] == 'b' ? 1000000 : 64);
        if (number == 0) return fail(USAGE, value, word[2] == 'b' ? " is no number of runs" : " is no number of threads (1 to 64)");
        *(word[2] == 'b' ? &o->runs : &o->threads) = number;
    }
    return 0;
}

static void say_tensor(const char *role, const ds_tensor *t) {
    static const char *const types[DS_TYPES] = {"float32", "int8", "uint8", "int32", "int64", "bool", "float16"};
    say(role);
    say(t->name);
    say(" ");
    say(types[t->type]);
    say("[");
    for (int i = 0; i < t->rank; i++) {
        if (i) say(", ");
        say_number(t->dims[i]);
    }
    say("]\n");
}

static void say_pair(const char *name, const char *value) {
    say(name);
    say(value);
    say("\n");
}

static void info(void) {
    const ds_model *m = &ds_program;
    say_pair("model    ", m->name);
    say_pair("hash     ", m->hash);
    say_pair("build    ", m->target);
    for (int i = 0; i < m->inputs_count; i++) say_tensor("input    ", &m->inputs[i]);
    for (int i = 0; i < m->outputs_count; i++) say_tensor("output   ", &m->outputs[i]);
    say("memory   ");
    say_number(m->arena);
    say(" bytes of tensors, ");
    say_number(m->scratch);
    say(" of each thread, ");
    say_number(m->constants_size);
    say(" of constants\n");
    say_pair("kernels  ", ds_level_name(ds_cpu()));
    if (ds_linked_units[0]) say_pair("TVM      ", ds_linked_units);
}

/* The tensor that [NAME=]FILE speaks about; *path is the file. */
static const ds_tensor *named(const char *word, const ds_tensor *tensors, int count, const char **path) {
    for (int i = 0; i < count; i++) {
        size_t size = strlen(tensors[i].name);
        if (strncmp(word, tensors[i].name, size) == 0 && word[size] == '=') {
            *path = word + size + 1;
            return &tensors[i];
        }
    }
    *path = word;
    return count == 1 ? tensors : NULL;
}

static int read_inputs(const options *o, const ds_context *context) {
    const ds_model *m = &ds_program;
    bool seen[MOST_FILES] = {false};
    for (int i = 0; i < o->inputs_count; i++) {
        const char *path;
        const ds_tensor *tensor = named(o->inputs[i], m->inputs, m->inputs_count, &path);
        if (tensor == NULL) return fail(USAGE, o->inputs[i], " names no input; write NAME=FILE, --info lists the names");
        const char *wrong = ds_npy_read(path, tensor, ds_data(context, tensor));
        if (wrong != NULL) return fail_file(path, wrong);
        seen[tensor - m->inputs] = true;
    }
    for (int i = 0; i < m->inputs_count && !o->runs; i++)
        if (i < MOST_FILES && !seen[i]) return fail(USAGE, m->inputs[i].name, " has no --input");
    return 0;
}

static int write_outputs(const options *o, const ds_context *context) {
    for (int i = 0; i < o->outputs_count; i++) {
        const char *path;
        const ds_tensor *tensor = named(o->outputs[i], ds_program.outputs, ds_program.outputs_count, &path);
        if (tensor == NULL) return fail(USAGE, o->outputs[i], " names no output; write NAME=FILE, --info lists the names");
        const char *wrong = ds_npy_write(path, tensor, ds_data(context, tensor));
        if (wrong != NULL) return fail_file(path, wrong);
    }
    return 0;
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void bench(const options *o, ds_context *context) {
    int64_t total = 0, least = INT64_MAX;
    for (int i = 0; i < o->runs; i++) {
        int64_t start = now();
        ds_run(context);
        int64_t spent = now() - start;
        total += spent;
        least = spent < least ? spent : least;
    }
    say("runs     ");
    say_number(o->runs);
    say("\nthreads  ");
    say_number(o->threads);
    say("\nmean     ");
    say_number(total / o->runs / 1000);
    say(" us\nleast    ");
    say_number(least / 1000);
    say(" us\n");
}

/* Whether the constants are those that were built; ds_open changes them. */
static bool is_whole(void) {
    uint64_t sum = 0;
    for (int64_t i = 0; 8 * i < ds_program.constants_size; i++) { /* zeros lie behind them */
        uint64_t word;
        memcpy(&word, ds_program.constants + 8 * i, sizeof word);
        sum += word * (uint64_t)(2 * i + 1);
    }
    return sum == ds_program.checksum;
}

int main(int count, char **words) {
    options o = {.threads = 1};
    int code = count == 1 ? fail(USAGE, "nothing to do", "; --help lists the options") : parse(count, words, &o);
    if (code != 0) return code < 0 ? 0 : code;
    if (o.info) {
        info();
        return 0;
    }
    if ((int)ds_cpu() < ds_program.level) return fail(FAILED, "this CPU lacks ", ds_level_name((ds_level)ds_program.level));
    if (!is_whole()) return fail(FAILED, "this program is damaged", "; copy it again");
    ds_context *context = ds_open(&ds_program, o.threads);
    if (context == NULL) return fail(FAILED, "there is not enough memory", "");
    code = read_inputs(&o, context);
    if (code == 0) {
        if (ds_run(context) != 0) code = fail(FAILED, "the inputs lead to a branch that their shapes rule out", "");
        else code = write_outputs(&o, context);
    }
    if (code == 0 && o.runs) bench(&o, context);
    ds_close(context);
    return code;
}
