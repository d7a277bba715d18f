/* Everything that the header promises: api MODEL INPUT WANT. Exits with 1 at the first promise that is not kept. Runs clean under
 * valgrind. */
#include <sepal.h>
#include <fenv.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what)                                                                                                                \
    do {                                                                                                                           \
        if (!(what)) {                                                                                                             \
            fprintf(stderr, "%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #what, sepal_last_error());                         \
            exit(1);                                                                                                               \
        }                                                                                                                          \
    } while (0)

/* What programs that are already compiled rely on, for ABI version 1. */
#define FIXED(name, what) typedef char fixed_##name[(what) ? 1 : -1]
FIXED(version, SEPAL_ABI_VERSION == 1);
FIXED(status, sizeof(sepal_status) == 4 && SEPAL_STATUS_OK == 0 && SEPAL_STATUS_ARGUMENT == 1 && SEPAL_STATUS_IO == 2);
FIXED(format, SEPAL_STATUS_FORMAT == 3 && SEPAL_STATUS_VERSION == 4 && SEPAL_STATUS_DAMAGED == 5 && SEPAL_STATUS_ALIGNMENT == 6);
FIXED(build, SEPAL_STATUS_FEATURE == 7 && SEPAL_STATUS_CPU == 8 && SEPAL_STATUS_MEMORY == 9 && SEPAL_STATUS_ARENA == 10);
FIXED(last, SEPAL_STATUS_THREADS == 11 && SEPAL_STATUS_INTERNAL == 12);
FIXED(layout, SEPAL_LAYOUT_UNKNOWN == 0 && SEPAL_LAYOUT_NHWC == 1 && SEPAL_LAYOUT_NCHW == 2);
FIXED(port, offsetof(sepal_port, name) == 0 && offsetof(sepal_port, elements) == sizeof(void *));
FIXED(rank, offsetof(sepal_port, rank) == 2 * sizeof(void *) && offsetof(sepal_port, layout) == 2 * sizeof(void *) + 4);
FIXED(dims, offsetof(sepal_port, dims) == 2 * sizeof(void *) + 8 && sizeof(sepal_port) == 2 * sizeof(void *) + 40);

typedef struct bytes {
    unsigned char *data; /* aligned to 64, with room for 64 more */
    void *memory;
    size_t len;
} bytes;

static bytes room(size_t len) {
    bytes all;
    all.memory = malloc(len + 128);
    CHECK(all.memory != NULL);
    all.data = (unsigned char *)(((uintptr_t)all.memory + 63) / 64 * 64);
    all.len = len;
    return all;
}

static bytes read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    bytes all;
    long len;
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    len = ftell(file);
    CHECK(len > 0 && fseek(file, 0, SEEK_SET) == 0);
    all = room((size_t)len);
    CHECK(fread(all.data, 1, all.len, file) == all.len);
    fclose(file);
    return all;
}

static bytes input, want;

static void run_and_compare(sepal_session *session) {
    int round;
    float *in = sepal_session_input(session, 0);
    const float *out = sepal_session_output(session, 0);
    CHECK(in != NULL && out != NULL);
    for (round = 0; round < 2; round++) {
        CHECK(sepal_session_input(session, 0) == in && sepal_session_output(session, 0) == out);
        memcpy(in, input.data, input.len);
        CHECK(sepal_session_run(session) == SEPAL_STATUS_OK);
        CHECK(memcmp(out, want.data, want.len) == 0);
    }
}

/* What the guide promises to be enough for a thread that loads and runs. */
#define STACK (128 * 1024)

static void *in_a_thread(void *model) {
    sepal_session *session;
    size_t threads;
    CHECK(strcmp(sepal_last_error(), "") == 0); /* errors are each thread's own */
    for (threads = 1; threads <= 2; threads++) {
        CHECK(sepal_session_new((const sepal_model *)model, threads, &session) == SEPAL_STATUS_OK);
        run_and_compare(session);
        sepal_session_free(session);
    }
    return NULL;
}

static void *with_little_stack(void *path) {
    sepal_model *model;
    CHECK(sepal_model_open((const char *)path, &model) == SEPAL_STATUS_OK);
    in_a_thread(model);
    sepal_model_free(model);
    return NULL;
}

static void versions(void) {
    CHECK(sepal_abi_version() == SEPAL_ABI_VERSION);
    CHECK(strchr(sepal_version(), '.') != NULL);
    CHECK(strcmp(sepal_status_text(SEPAL_STATUS_OK), "done") == 0);
    CHECK(strcmp(sepal_status_text(SEPAL_STATUS_INTERNAL), "unknown status") != 0);
    CHECK(strcmp(sepal_status_text(SEPAL_STATUS_INTERNAL + 1), "unknown status") == 0);
    CHECK(strcmp(sepal_status_text(-1), "unknown status") == 0);
    CHECK(strcmp(sepal_last_error(), "") == 0);
}

static void ports(const sepal_model *model) {
    sepal_port port;
    CHECK(sepal_model_inputs(model) == 1 && sepal_model_outputs(model) == 1);
    CHECK(sepal_model_input(model, 0, &port) == SEPAL_STATUS_OK);
    CHECK(port.elements * sizeof(float) == input.len && strlen(port.name) > 0);
    CHECK(port.rank == 4 && port.dims[0] == 1 && port.dims[4] == 0);
    CHECK((size_t)port.dims[1] * port.dims[2] * port.dims[3] == port.elements);
    CHECK(port.layout >= SEPAL_LAYOUT_UNKNOWN && port.layout <= SEPAL_LAYOUT_NCHW);
    CHECK(sepal_model_output(model, 0, &port) == SEPAL_STATUS_OK);
    CHECK(port.elements * sizeof(float) == want.len && port.rank == 2);
    CHECK(sepal_model_input(model, 1, &port) == SEPAL_STATUS_ARGUMENT);
    CHECK(strstr(sepal_last_error(), "1 inputs") != NULL);
    CHECK(sepal_model_output(model, (size_t)-1, &port) == SEPAL_STATUS_ARGUMENT);
}

/* Each plan is a model of its own; the first is the one that is loaded. */
static void plans(const sepal_model *model) {
    size_t i, count = sepal_model_plans(model);
    sepal_model *plan = NULL, *none = NULL;
    sepal_session *session;
    sepal_port first, port;
    CHECK(count > 0 && sepal_model_input(model, 0, &first) == SEPAL_STATUS_OK);
    for (i = 0; i < count; i++) {
        CHECK(sepal_model_plan(model, i, &plan) == SEPAL_STATUS_OK && sepal_model_plans(plan) == count);
        CHECK(sepal_model_input(plan, 0, &port) == SEPAL_STATUS_OK && strcmp(port.name, first.name) == 0);
        CHECK((port.elements == first.elements) == (i == 0));
        CHECK((sepal_model_arena_bytes(plan, 1) == sepal_model_arena_bytes(model, 1)) == (i == 0));
        CHECK(sepal_session_new(plan, 1, &session) == SEPAL_STATUS_OK);
        sepal_model_free(plan);
        if (i == 0) {
            run_and_compare(session);
        } else {
            CHECK(sepal_session_run(session) == SEPAL_STATUS_OK);
        }
        sepal_session_free(session);
    }
    CHECK(sepal_model_plan(model, count, &none) == SEPAL_STATUS_ARGUMENT && none == NULL);
    CHECK(strstr(sepal_last_error(), " plans") != NULL);
    CHECK(sepal_model_plans(NULL) == 0 && sepal_model_plan(NULL, 0, &none) == SEPAL_STATUS_ARGUMENT);
    CHECK(sepal_model_plan(model, 0, NULL) == SEPAL_STATUS_ARGUMENT);
}

static void null_pointers(const char *path, const sepal_model *model) {
    sepal_model *none = (sepal_model *)1;
    sepal_session *session = (sepal_session *)1;
    sepal_port port;
    CHECK(sepal_model_open(NULL, &none) == SEPAL_STATUS_ARGUMENT && none == NULL);
    CHECK(sepal_model_open(path, NULL) == SEPAL_STATUS_ARGUMENT);
    CHECK(sepal_model_from_memory(NULL, 64, &none) == SEPAL_STATUS_ARGUMENT && none == NULL);
    CHECK(sepal_model_copy(NULL, 64, &none) == SEPAL_STATUS_ARGUMENT);
    CHECK(sepal_model_copy(&port, (size_t)-1, &none) == SEPAL_STATUS_ARGUMENT);
    CHECK(sepal_model_verify(NULL) == SEPAL_STATUS_ARGUMENT);
    CHECK(sepal_model_isa(NULL) == NULL);
    CHECK(sepal_model_work(NULL) == 0 && sepal_model_work(model) > 0);
    CHECK(sepal_model_arena_bytes(NULL, 1) == 0 && sepal_model_inputs(NULL) == 0 && sepal_model_outputs(NULL) == 0);
    CHECK(sepal_model_input(NULL, 0, &port) == SEPAL_STATUS_ARGUMENT);
    CHECK(sepal_model_input(model, 0, NULL) == SEPAL_STATUS_ARGUMENT);
    CHECK(sepal_model_output(NULL, 0, &port) == SEPAL_STATUS_ARGUMENT);
    CHECK(sepal_session_new(NULL, 1, &session) == SEPAL_STATUS_ARGUMENT && session == NULL);
    CHECK(sepal_session_new(model, 1, NULL) == SEPAL_STATUS_ARGUMENT);
    CHECK(sepal_session_in_arena(model, NULL, 1 << 30, &session) == SEPAL_STATUS_ARGUMENT);
    CHECK(sepal_session_in_arena(NULL, &port, 64, &session) == SEPAL_STATUS_ARGUMENT);
    CHECK(sepal_session_run(NULL) == SEPAL_STATUS_ARGUMENT);
    CHECK(strstr(sepal_last_error(), "null") != NULL);
    CHECK(sepal_session_input(NULL, 0) == NULL && sepal_session_output(NULL, 0) == NULL);
    sepal_model_free(NULL);
    sepal_session_free(NULL);
}

/* Paths that would command the terminal, turn the direction of writing, or leave no room for what is wrong. */
static void one_line(void) {
    char path[3000];
    const char *said;
    sepal_model *model;
    CHECK(sepal_model_open("no\nsuch\x1b[31m\x7f\xc2\x9b\xe2\x80\xae\xe2\x80\xa8.sepal", &model) == SEPAL_STATUS_IO);
    said = sepal_last_error();
    CHECK(strpbrk(said, "\n\x1b\x7f") == NULL && strstr(said, "such") != NULL && strstr(said, ".sepal: ") != NULL);
    CHECK(strstr(said, "\xc2\x9b") == NULL && strstr(said, "\xe2\x80\xae") == NULL && strstr(said, "\xe2\x80\xa8") == NULL);
    memset(path, 'a', sizeof path);
    path[sizeof path - 1] = 0;
    CHECK(sepal_model_open(path, &model) == SEPAL_STATUS_IO);
    CHECK(strstr(sepal_last_error(), "aaaa: ") != NULL);
    CHECK(said == sepal_last_error());
}

static void bad_files(const char *path) {
    sepal_model *model;
    bytes file = read_file(path);
    unsigned char last = file.data[file.len - 1];
    CHECK(sepal_model_open("there/is/no/such.sepal", &model) == SEPAL_STATUS_IO && model == NULL);
    CHECK(strstr(sepal_last_error(), "such.sepal") != NULL);
    CHECK(sepal_model_open("/", &model) == SEPAL_STATUS_IO);
    one_line();
    CHECK(sepal_model_open("\xff", &model) == SEPAL_STATUS_ARGUMENT);
    CHECK(sepal_model_from_memory(file.data, file.len - 1, &model) == SEPAL_STATUS_DAMAGED);
    CHECK(sepal_model_from_memory("x", 0, &model) == SEPAL_STATUS_FORMAT);
    CHECK(sepal_model_copy("not a model", 11, &model) == SEPAL_STATUS_FORMAT);
    memmove(file.data + 1, file.data, file.len);
    CHECK(sepal_model_from_memory(file.data + 1, file.len, &model) == SEPAL_STATUS_ALIGNMENT);
    CHECK(sepal_model_copy(file.data + 1, file.len, &model) == SEPAL_STATUS_OK); /* any alignment will do */
    CHECK(sepal_model_verify(model) == SEPAL_STATUS_OK);
    sepal_model_free(model);
    memmove(file.data, file.data + 1, file.len);

    file.data[file.len - 1] = last ^ 1; /* of the weights, which are checked on demand */
    CHECK(sepal_model_from_memory(file.data, file.len, &model) == SEPAL_STATUS_OK);
    CHECK(sepal_model_verify(model) == SEPAL_STATUS_DAMAGED);
    sepal_model_free(model);
    file.data[file.len - 1] = last;
    file.data[100] ^= 1; /* of the structure */
    CHECK(sepal_model_from_memory(file.data, file.len, &model) != SEPAL_STATUS_OK && model == NULL);
    free(file.memory);
}

static void sessions(const sepal_model *model) {
    sepal_session *one, *two;
    size_t i, need = sepal_model_arena_bytes(model, 1);
    bytes arena = room(need + 64);
    CHECK(need > 0 && sepal_model_arena_bytes(model, 2) >= need);
    CHECK(sepal_session_new(model, 0, &one) == SEPAL_STATUS_THREADS && one == NULL);
    CHECK(sepal_session_new(model, 65, &one) == SEPAL_STATUS_THREADS);
    CHECK(sepal_session_in_arena(model, arena.data, need - 1, &one) == SEPAL_STATUS_ARENA);
    memset(arena.data, 0xff, arena.len);
    CHECK(sepal_session_in_arena(model, arena.data + 4, need, &one) == SEPAL_STATUS_ALIGNMENT && one == NULL);
    for (i = 0; i < arena.len; i++) {
        CHECK(arena.data[i] == 0xff); /* what is refused is left alone */
    }
    CHECK(sepal_session_in_arena(model, (void *)1, need, &one) == SEPAL_STATUS_ALIGNMENT);
    CHECK(sepal_session_in_arena(model, arena.data, arena.len, &one) == SEPAL_STATUS_OK);
    CHECK(arena.data[need] == 0xff); /* what is more than needed is left alone */
    CHECK((unsigned char *)sepal_session_input(one, 0) >= arena.data);
    CHECK((unsigned char *)sepal_session_input(one, 0) < arena.data + need);
    CHECK(sepal_session_input(one, 1) == NULL && sepal_session_output(one, 1) == NULL);
    CHECK(sepal_session_new(model, 1, &two) == SEPAL_STATUS_OK);
    run_and_compare(one);
    run_and_compare(two);
    run_and_compare(one);
    sepal_session_free(one);
    sepal_session_free(two);
    free(arena.memory);
}

static void lives(const char *path) {
    sepal_model *model;
    sepal_session *one, *two;
    bytes file = read_file(path);
    CHECK(sepal_model_from_memory(file.data, file.len, &model) == SEPAL_STATUS_OK);
    CHECK(sepal_session_new(model, 1, &one) == SEPAL_STATUS_OK);
    CHECK(sepal_session_new(model, 2, &two) == SEPAL_STATUS_OK);
    sepal_model_free(model); /* the sessions keep it */
    run_and_compare(one);
    sepal_session_free(one);
    run_and_compare(two);
    sepal_session_free(two);
    free(file.memory);
}

/* Programs that are linked with -ffast-math, or round otherwise, have rules of their own. */
static void other_rules(const char *path) {
    sepal_model *model = NULL;
    sepal_session *before = NULL, *after = NULL;
    CHECK(sepal_model_open(path, &model) == SEPAL_STATUS_OK);
    CHECK(sepal_session_new(model, 2, &before) == SEPAL_STATUS_OK);
    CHECK(fesetround(FE_TOWARDZERO) == 0);
    CHECK(sepal_session_new(model, 2, &after) == SEPAL_STATUS_OK);
    run_and_compare(before);
    run_and_compare(after);
    CHECK(fegetround() == FE_TOWARDZERO && fesetround(FE_TONEAREST) == 0);
    sepal_session_free(before);
    sepal_session_free(after);
    sepal_model_free(model);
}

/* A child of fork has none of the session's threads, and may free it all the same. */
static void forks(const char *path) {
    sepal_model *model = NULL;
    sepal_session *session = NULL;
    CHECK(sepal_model_open(path, &model) == SEPAL_STATUS_OK);
    CHECK(sepal_session_new(model, 3, &session) == SEPAL_STATUS_OK);
    run_and_compare(session);
    pid_t child = fork();
    CHECK(child != -1);
    if (child == 0) {
        alarm(20); /* ends it by a signal if it waits for them */
        sepal_session_free(session);
        sepal_model_free(model);
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    run_and_compare(session);
    sepal_session_free(session);
    sepal_model_free(model);
}

int main(int argc, char **argv) {
    sepal_model *model;
    pthread_t threads[2], little;
    pthread_attr_t attributes;
    int i;

    CHECK(argc == 4);
    versions();
    input = read_file(argv[2]);
    want = read_file(argv[3]);
    CHECK(sepal_model_open(argv[1], &model) == SEPAL_STATUS_OK);
    printf("%s on %s\n", sepal_version(), sepal_model_isa(model));
    ports(model);
    plans(model);
    null_pointers(argv[1], model);
    bad_files(argv[1]);
    sessions(model);
    lives(argv[1]);
    other_rules(argv[1]);
    forks(argv[1]);
    for (i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, in_a_thread, model) == 0);
    }
    for (i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, STACK) == 0);
    CHECK(pthread_create(&little, &attributes, with_little_stack, argv[1]) == 0);
    CHECK(pthread_join(little, NULL) == 0 && pthread_attr_destroy(&attributes) == 0);
    sepal_model_free(model);
    free(input.memory);
    free(want.memory);
    puts("all promises kept");
    return 0;
}
