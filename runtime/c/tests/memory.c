/* Memory that ends at each allocation in turn: memory MODEL. What fails must be a status with a text, and the process must go on. */
#include <sepal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The C library's own. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

/* How many allocations succeed from now on, all if negative; how many were refused. */
static long left = -1, refused;

static int refuse(void) {
    if (left > 0) {
        left--;
    } else if (left == 0) {
        refused++;
    }
    return refused > 0;
}

void *malloc(size_t size) { return refuse() ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return refuse() ? NULL : __libc_calloc(count, size); }
void *realloc(void *memory, size_t size) { return refuse() ? NULL : __libc_realloc(memory, size); }
void *aligned_alloc(size_t align, size_t size) { return refuse() ? NULL : __libc_memalign(align, size); }
int posix_memalign(void **out, size_t align, size_t size) {
    *out = refuse() ? NULL : __libc_memalign(align, size);
    return *out == NULL ? 12 : 0;
}

#define MOST (1 << 22)
static unsigned char room[2 * MOST + 128];
static unsigned char *file, *arena;
static size_t len;
static const char *path;
static sepal_model *model;

static sepal_status call(int which, sepal_model **made, sepal_session **session) {
    switch (which) {
    case 0: return sepal_model_from_memory(file, len, made);
    case 1: return sepal_model_plan(model, 0, made);
    case 2: return sepal_session_in_arena(model, arena, MOST, session);
    case 3: return sepal_session_new(model, 1, session);
    /* What fails in any case does so for its own reason. */
    case 4: return sepal_model_from_memory(file, len - 1, made);
    case 5: return sepal_model_from_memory(file + 1, len - 1, made);
    case 6: return sepal_model_open("there/is/no/such.sepal", made);
    case 7: return sepal_model_open(NULL, made);
    case 8: return sepal_model_plan(model, 99, made);
    case 9: return sepal_session_in_arena(model, arena, 10, session);
    case 10: return sepal_session_in_arena(model, arena + 4, MOST - 4, session);
    case 11: return sepal_session_new(model, 0, session);
    default: return sepal_session_run(NULL);
    }
}

static const sepal_status otherwise[13] = {
    SEPAL_STATUS_OK,       SEPAL_STATUS_OK,       SEPAL_STATUS_OK,    SEPAL_STATUS_OK,        SEPAL_STATUS_DAMAGED,
    SEPAL_STATUS_FORMAT,   SEPAL_STATUS_IO,       SEPAL_STATUS_ARGUMENT, SEPAL_STATUS_ARGUMENT, SEPAL_STATUS_ARENA,
    SEPAL_STATUS_ALIGNMENT, SEPAL_STATUS_THREADS, SEPAL_STATUS_ARGUMENT,
};

int main(int argc, char **argv) {
    FILE *from;
    int which, shortages = 0;
    long after;
    if (argc != 2 || (from = fopen(argv[1], "rb")) == NULL) {
        return 1;
    }
    path = argv[1];
    file = room + (64 - (size_t)room % 64) % 64;
    arena = file + MOST;
    len = fread(file, 1, MOST, from);
    fclose(from);
    if (sepal_model_from_memory(file, len, &model) != SEPAL_STATUS_OK || sepal_model_arena_bytes(model, 1) > MOST) {
        fprintf(stderr, "%s\n", sepal_last_error());
        return 1;
    }
    for (which = 0; which < 13; which++) {
        for (after = 0;; after++) {
            sepal_model *made = NULL;
            sepal_session *session = NULL;
            sepal_status status;
            long short_of;
            refused = 0;
            left = after;
            status = call(which, &made, &session);
            short_of = refused;
            left = -1;
            refused = 0;
            if (status != otherwise[which] && !(short_of > 0 && status == SEPAL_STATUS_MEMORY)) {
                fprintf(stderr, "call %d, %ld allocations: status %d: %s\n", which, after, status, sepal_last_error());
                return 1;
            }
            if (status != SEPAL_STATUS_OK && (made != NULL || session != NULL || strlen(sepal_last_error()) == 0)) {
                fprintf(stderr, "call %d, %ld allocations: a handle or no text with status %d\n", which, after, status);
                return 1;
            }
            shortages += status == SEPAL_STATUS_MEMORY;
            sepal_session_free(session);
            sepal_model_free(made);
            if (short_of == 0) {
                break;
            }
        }
    }
    sepal_model_free(model);
    if (shortages < 4) { /* each that makes a handle */
        fprintf(stderr, "%d shortages\n", shortages);
        return 1;
    }
    puts("every shortage is a status");
    return 0;
}
