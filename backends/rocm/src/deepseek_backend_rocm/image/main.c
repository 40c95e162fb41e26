/* The model as a program: files with the bytes of each input, then files for those of each output, in the model's order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher.h"

static int fail(const char *what, const char *which) {
    fprintf(stderr, "error: %s%s%s\n", which, *which ? ": " : "", what);
    return 2;
}

static void describe(const char *role, const ds_port *ports, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        printf("%s %s: %s [", role, ports[i].name, ports[i].type);
        for (int axis = 0; axis < ports[i].rank; axis++)
            printf("%s%lld", axis ? ", " : "", (long long)ports[i].shape[axis]);
        printf("], %zu bytes\n", ports[i].bytes);
    }
}

static const char *read_file(const char *path, void *data, size_t size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return "cannot be opened";
    size_t got = fread(data, 1, size, file);
    int more = got == size && fgetc(file) != EOF;
    fclose(file);
    return got != size || more ? "has another size than the input" : NULL;
}

static const char *write_file(const char *path, const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return "cannot be written";
    size_t put = fwrite(data, 1, size, file);
    return fclose(file) != 0 || put != size ? "cannot be written" : NULL;
}

static int run(const ds_model *model, char **paths, void **arrays, int graph) {
    ds_session *session = NULL;
    for (unsigned i = 0; i < model->input_count; i++) {
        const char *wrong = read_file(paths[i], arrays[i], model->inputs[i].bytes);
        if (wrong != NULL)
            return fail(wrong, paths[i]);
    }
    const char *wrong = ds_open(&session, model, 0, graph);
    if (wrong == NULL)
        wrong = ds_run(session, (const void *const *)arrays, arrays + model->input_count);
    if (wrong == NULL)
        printf("%s ran on %s\n", model->name, ds_architecture(session));
    int code = wrong == NULL ? 0 : fail(wrong, "");
    ds_close(session);
    for (unsigned i = 0; code == 0 && i < model->output_count; i++) {
        const char *path = paths[model->input_count + i];
        const char *bad = write_file(path, arrays[model->input_count + i], model->outputs[i].bytes);
        if (bad != NULL)
            code = fail(bad, path);
    }
    return code;
}

int main(int count, char **words) {
    const ds_model *model = &ds_the_model;
    unsigned total = model->input_count + model->output_count;
    int graph = count > 1 && strcmp(words[1], "--graph") == 0;
    if ((unsigned)(count - 1 - graph) != total) {
        describe("input", model->inputs, model->input_count);
        describe("output", model->outputs, model->output_count);
        printf("usage: %s [--graph] FILE... (inputs, then outputs)\n", words[0]);
        return count == 1 ? 0 : 2;
    }
    void **arrays = calloc(total, sizeof *arrays);
    int code = arrays == NULL ? fail("out of memory", "") : 0;
    for (unsigned i = 0; code == 0 && i < total; i++) {
        unsigned output = i - model->input_count;
        size_t bytes = i < model->input_count ? model->inputs[i].bytes : model->outputs[output].bytes;
        arrays[i] = malloc(bytes + 1);
        if (arrays[i] == NULL)
            code = fail("out of memory", "");
    }
    if (code == 0)
        code = run(model, words + 1 + graph, arrays, graph);
    for (unsigned i = 0; arrays != NULL && i < total; i++)
        free(arrays[i]);
    free(arrays);
    return code;
}
