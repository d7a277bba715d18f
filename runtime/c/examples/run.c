/* Runs a model on raw floats: run MODEL INPUT... prints the outputs, one number a line.
 *
 * INPUT is a file of 32-bit floats, one for each input of the network. */
#include <sepal.h>
#include <stdio.h>
#include <stdlib.h>

static void must(sepal_status status) {
    if (status != SEPAL_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", sepal_status_text(status), sepal_last_error());
        exit(1);
    }
}

static void read_floats(const char *path, float *to, size_t count) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fread(to, sizeof *to, count, file) != count) {
        fprintf(stderr, "%s: not %zu floats\n", path, count);
        exit(1);
    }
    fclose(file);
}

int main(int argc, char **argv) {
    sepal_model *model;
    sepal_session *session;
    size_t i, j;

    if (sepal_abi_version() != SEPAL_ABI_VERSION || argc < 2) {
        fprintf(stderr, "usage: run MODEL INPUT...\n");
        return 2;
    }
    must(sepal_model_open(argv[1], &model));
    must(sepal_session_new(model, 1, &session));

    for (i = 0; i < sepal_model_inputs(model) && i + 2 < (size_t)argc; i++) {
        sepal_port port;
        must(sepal_model_input(model, i, &port));
        read_floats(argv[i + 2], sepal_session_input(session, i), port.elements);
    }
    must(sepal_session_run(session));
    for (i = 0; i < sepal_model_outputs(model); i++) {
        sepal_port port;
        const float *output = sepal_session_output(session, i);
        must(sepal_model_output(model, i, &port));
        for (j = 0; j < port.elements; j++) {
            printf("%.9g\n", output[j]);
        }
    }
    sepal_session_free(session);
    sepal_model_free(model);
    return 0;
}
