/* Runs a model from memory in memory of its own: memory MODEL INPUT prints the first output, one number a line.
 *
 * It needs nothing of the library but what is left without the feature `std`: no files, no threads. */
#include <sepal.h>
#include <stdio.h>
#include <stdlib.h>

/* Memory that begins at a multiple of 64. */
static void *room(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == NULL) {
        fprintf(stderr, "no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memory;
}

static void *read_file(const char *path, size_t *len) {
    FILE *file = fopen(path, "rb");
    long end = -1;
    void *bytes;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0) {
        end = ftell(file);
    }
    if (end < 0 || fseek(file, 0, SEEK_SET) != 0) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    bytes = room(*len = (size_t)end);
    if (fread(bytes, 1, *len, file) != *len) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    fclose(file);
    return bytes;
}

static void must(sepal_status status) {
    if (status != SEPAL_STATUS_OK) {
        fprintf(stderr, "%s\n", sepal_status_text(status));
        exit(1);
    }
}

int main(int argc, char **argv) {
    size_t len, input_len, i;
    sepal_model *model;
    sepal_session *session;
    sepal_port in, out;
    void *file, *arena;
    float *input;

    if (argc != 3) {
        fprintf(stderr, "usage: memory MODEL INPUT\n");
        return 2;
    }
    file = read_file(argv[1], &len);
    input = read_file(argv[2], &input_len);
    must(sepal_model_from_memory(file, len, &model));
    len = sepal_model_arena_bytes(model, 1);
    arena = room(len);
    must(sepal_session_in_arena(model, arena, len, &session));
    must(sepal_model_input(model, 0, &in));
    must(sepal_model_output(model, 0, &out));
    if (input_len != in.elements * sizeof(float)) {
        fprintf(stderr, "%s: not %zu floats\n", argv[2], in.elements);
        return 1;
    }
    for (i = 0; i < in.elements; i++) {
        sepal_session_input(session, 0)[i] = input[i];
    }
    must(sepal_session_run(session));
    for (i = 0; i < out.elements; i++) {
        printf("%.9g\n", sepal_session_output(session, 0)[i]);
    }
    sepal_session_free(session);
    sepal_model_free(model);
    free(arena);
    free(input);
    free(file);
    return 0;
}
