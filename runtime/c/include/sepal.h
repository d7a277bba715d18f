#ifndef SEPAL_H
#define SEPAL_H

/* Made from runtime/c/src by cbindgen: change it there. runtime/c/README.md is the guide. */

#include <stddef.h>
#include <stdint.h>

/*
 What a caller keeps:

 - A handle (sepal_model, sepal_session) is null, or was made by this library and not freed. Null is refused or ignored, never followed.
 - Any other pointer is null, or points to as much memory as its type or the length beside it says, which this library may read, or
   write where it is not const, during the call. What must stay for longer is said at the function.
 - Texts end with NUL. Texts from this library belong to it.
 - Any thread may call any function at any time, but a session is used by one thread at a time, and nothing is freed while in use.
   A child of fork may free a session of several threads, and not run it.
 - A mapped file (sepal_model_open) stays as it is while its model lives: one that is cut off ends the process with SIGBUS.
 - A thread that loads or runs has 128 KB of stack.
 - The environment does not change while the first model is loaded, when SEPAL_ISA is read.
 - In a library without the feature std, or of the profile small, an error inside of it ends the program (abort); and so does memory
   that ends for the standard library's own small things, but in sepal_model_from_memory and sepal_session_in_arena.
 */

/*
 The version of this interface. It changes only when a program that was compiled against an older one would no longer
 run right; functions and numbers may be added without.
 */
#define SEPAL_ABI_VERSION 1

/*
 What a function returns. The numbers never change.
 */
enum sepal_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /*
   Done.
   */
  SEPAL_STATUS_OK = 0,
  /*
   An argument is a null pointer, or an index too large, or a text that is not UTF-8.
   */
  SEPAL_STATUS_ARGUMENT = 1,
  /*
   The file cannot be read.
   */
  SEPAL_STATUS_IO = 2,
  /*
   The bytes are not a sound model.
   */
  SEPAL_STATUS_FORMAT = 3,
  /*
   The model was written for another version of the format.
   */
  SEPAL_STATUS_VERSION = 4,
  /*
   The model was damaged: it was cut off, or a hash does not match.
   */
  SEPAL_STATUS_DAMAGED = 5,
  /*
   The model or the arena does not begin at a multiple of 64 bytes.
   */
  SEPAL_STATUS_ALIGNMENT = 6,
  /*
   The model, or the call, needs a part of the library that was left out when it was built.
   */
  SEPAL_STATUS_FEATURE = 7,
  /*
   This CPU lacks the instruction set that was asked for, or all of this build.
   */
  SEPAL_STATUS_CPU = 8,
  /*
   There is not so much memory.
   */
  SEPAL_STATUS_MEMORY = 9,
  /*
   The arena is too short.
   */
  SEPAL_STATUS_ARENA = 10,
  /*
   So many threads are not possible, or one could not be started.
   */
  SEPAL_STATUS_THREADS = 11,
  /*
   An error of the library itself, or of a file that was changed in place while it was in use.
   */
  SEPAL_STATUS_INTERNAL = 12,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sepal_status sepal_status;
#else
typedef int32_t sepal_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/*
 What the axes of an input or output mean in the network that was converted.
 */
enum sepal_layout
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /*
   Not known, or not an image.
   */
  SEPAL_LAYOUT_UNKNOWN = 0,
  /*
   Batch, rows, columns, channels.
   */
  SEPAL_LAYOUT_NHWC = 1,
  /*
   Batch, channels, rows, columns.
   */
  SEPAL_LAYOUT_NCHW = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum sepal_layout sepal_layout;
#else
typedef int32_t sepal_layout;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/*
 A verified model. Threads may share it. It lives until it and all its sessions are freed.
 */
typedef struct sepal_model sepal_model;

/*
 The memory of an inference. One thread may use it at a time.
 */
typedef struct sepal_session sepal_session;

/*
 An input or output. Its elements are 32-bit floats, in the order of its axes, without gaps.
 */
typedef struct sepal_port {
  /*
   Its name in the network that was converted; lives as long as the model.
   */
  const char *name;
  /*
   How many floats it has.
   */
  size_t elements;
  /*
   How many axes it has, at most 8.
   */
  uint32_t rank;
  /*
   What they mean.
   */
  sepal_layout layout;
  /*
   Their extents, the outermost first; 0 from `rank` on.
   */
  uint32_t dims[8];
} sepal_port;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 Maps a file (without the feature `mmap`, reads it) and verifies its structure. `path` is UTF-8.

 The file must not be changed in place while the model or one of its sessions lives: replace it by renaming another.

 `out` receives the model; null if this fails.
 */
sepal_status sepal_model_open(const char *path,
                              struct sepal_model **out);

/*
 Verifies a model in the caller's memory, which must begin at a multiple of 64 bytes and stay, unchanged, until the model and all
 its sessions are freed.

 `out` receives the model; null if this fails.
 */
sepal_status sepal_model_from_memory(const void *bytes,
                                     size_t len,
                                     struct sepal_model **out);

/*
 Copies a model from memory of any alignment, and verifies the copy. Needs the feature `std`.

 `out` receives the model; null if this fails.
 */
sepal_status sepal_model_copy(const void *bytes, size_t len, struct sepal_model **out);

/*
 How many plans the file has: the same network for several shapes of its inputs, over the same weights. 0 for null.
 */
size_t sepal_model_plans(const struct sepal_model *model);

/*
 A model of the same file that runs by plan `index`: with inputs, outputs and an arena of its own, and the same weights, which are not
 copied. A loaded model runs by plan 0. What `sepal_model_from_memory` says of the bytes holds for it, too; otherwise neither needs the
 other, and each is freed by itself.

 `out` receives the model; null if this fails.
 */
sepal_status sepal_model_plan(const struct sepal_model *model,
                              size_t index,
                              struct sepal_model **out);

/*
 Reads all weights and compares them with the hash in the file. The functions above do not: they take a time that does not grow
 with the weights, and memory safety does not depend on them.
 */
sepal_status sepal_model_verify(const struct sepal_model *model);

/*
 Gives up the caller's right to use the model, which lives on while it has sessions. Null is ignored.
 */
void sepal_model_free(struct sepal_model *model);

/*
 The instruction set that the model runs with: "scalar", "avx2", "avx512" or "neon". Null for null.
 */
const char *sepal_model_isa(const struct sepal_model *model);

/*
 Bytes of memory that a session of so many threads needs besides the model. 0 for null.
 */
size_t sepal_model_arena_bytes(const struct sepal_model *model, uint32_t threads);

/*
 How much work an inference is: at most about so many multiply-adds or other accesses to elements, on one thread. A CPU with wide
 vectors does 10^9 a second and mostly far more, without any some 10^8. 0 for null.
 */
uint64_t sepal_model_work(const struct sepal_model *model);

/*
 How many inputs the network has. 0 for null.
 */
size_t sepal_model_inputs(const struct sepal_model *model);

/*
 How many outputs the network has. 0 for null.
 */
size_t sepal_model_outputs(const struct sepal_model *model);

/*
 Describes an input.

 `out` is left alone if this fails.
 */
sepal_status sepal_model_input(const struct sepal_model *model, size_t index, struct sepal_port *out);

/*
 Describes an output.

 `out` is left alone if this fails.
 */
sepal_status sepal_model_output(const struct sepal_model *model, size_t index, struct sepal_port *out);

/*
 Allocates the arena, and starts `threads - 1` threads, at most 63. Without the feature `threads` only 1 is possible; without the
 feature `std` there is only `sepal_session_in_arena`.

 `out` receives the session; null if this fails.
 */
sepal_status sepal_session_new(const struct sepal_model *model,
                               uint32_t threads,
                               struct sepal_session **out);

/*
 A session of one thread in the caller's memory, of which `sepal_model_arena_bytes(model, 1)` bytes are used: they must begin at
 a multiple of 64, and belong to the session until it is freed. Besides the handle, nothing is allocated.

 `out` receives the session; null if this fails.
 */
sepal_status sepal_session_in_arena(const struct sepal_model *model,
                                    void *arena,
                                    size_t bytes,
                                    struct sepal_session **out);

/*
 Stops the session's threads and gives back its memory. Null is ignored.
 */
void sepal_session_free(struct sepal_session *session);

/*
 Where to write an input before each run: it lies in the arena and is used up by the run. As many floats as
 `sepal_model_input` says; the address never changes. Null if there is no such input.
 */
float *sepal_session_input(struct sepal_session *session, size_t index);

/*
 Where an output is after a run, until the next one. As many floats as `sepal_model_output` says; the address never changes.
 Null if there is no such output.
 */
const float *sepal_session_output(const struct sepal_session *session,
                                  size_t index);

/*
 Runs the network on the inputs. It allocates nothing and waits for nothing but its own threads. It fails only if the model was
 changed in place after it had been verified.
 */
sepal_status sepal_session_run(struct sepal_session *session);

/*
 The `SEPAL_ABI_VERSION` of the library. A program that finds another one than that of its header should not go on.
 */
uint32_t sepal_abi_version(void);

/*
 The version of the library, as "0.1.0".
 */
const char *sepal_version(void);

/*
 What a status means, in a few words; for a number that is none, "unknown status". Never null.
 */
const char *sepal_status_text(int32_t status);

/*
 Why the last call on this thread failed that did, in one line of at most 1023 bytes; empty if none did. Characters of paths and
 names that would command a terminal are replaced. Never null; valid until the next call on this thread that fails, or the thread
 ends. A library built without the feature `std` has no such texts: see `sepal_status_text`.
 */
const char *sepal_last_error(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SEPAL_H */
