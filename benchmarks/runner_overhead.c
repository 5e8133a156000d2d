/* The yardstick of runner_overhead.py: ONNX Runtime called and timed from C.
 *
 * The program `runner_overhead LIBRARY MODEL ELEMENTS SECONDS` prints one duration per line, in
 * nanoseconds. The shared library offers prepare, infer and timed.
 * The model has one float input "x" and one float output "y", both vectors of ELEMENTS. The code
 * calls only functions from the head of OrtApi, whose positions never change because the structure
 * only grows at its end; so it needs no header.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
  CREATE_ENV = 3,
  CREATE_SESSION = 7,
  RUN = 9,
  CREATE_SESSION_OPTIONS = 10,
  SET_INTRA_OP_THREADS = 24,
  CREATE_TENSOR_WITH_DATA = 49,
  CREATE_CPU_MEMORY_INFO = 69
};

typedef void *Handle;
typedef Handle Status;
typedef struct {
  const Handle *(*get_api)(uint32_t version);
  const char *(*get_version)(void);
} ApiBase;

static void check(Status status, const char *what) {
  if (status != NULL) {
    fprintf(stderr, "%s failed\n", what);
    exit(1);
  }
}

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static Handle tensor(const Handle *api, Handle memory, int64_t elements) {
  Status (*create)(Handle, void *, size_t, const int64_t *, size_t, int, Handle *) =
      api[CREATE_TENSOR_WITH_DATA];
  Handle value;
  float *data = calloc(elements, sizeof(float));
  for (int64_t i = 0; i < elements; i++) data[i] = (float)(i % 17) / 17;
  check(create(memory, data, elements * sizeof(float), &elements, 1, 1, &value), "tensor");
  return value;
}

static Status (*run)(Handle, Handle, const char *const *, const Handle *, size_t,
                     const char *const *, size_t, Handle *);
static Handle session, input, output;

/* Loads the model; returns 0 on success. */
int prepare(const char *library_path, const char *model, int64_t elements) {
  void *library = dlopen(library_path, RTLD_NOW);
  const ApiBase *(*base)(void) = library ? dlsym(library, "OrtGetApiBase") : NULL;
  const Handle *api = base ? base()->get_api(14) : NULL;
  if (api == NULL) {
    fprintf(stderr, "%s is not an ONNX Runtime library\n", library_path);
    return 1;
  }
  Status (*create_env)(int, const char *, Handle *) = api[CREATE_ENV];
  Status (*create_options)(Handle *) = api[CREATE_SESSION_OPTIONS];
  Status (*set_threads)(Handle, int) = api[SET_INTRA_OP_THREADS];
  Status (*create_session)(Handle, const char *, Handle, Handle *) = api[CREATE_SESSION];
  Status (*create_memory)(int, int, Handle *) = api[CREATE_CPU_MEMORY_INFO];
  run = api[RUN];

  Handle env, options, memory;
  check(create_env(3, "yardstick", &env), "environment");
  check(create_options(&options), "options");
  check(set_threads(options, 1), "threads");
  check(create_session(env, model, options, &session), "session");
  check(create_memory(1, 0, &memory), "memory");
  input = tensor(api, memory, elements);
  output = tensor(api, memory, elements);
  return 0;
}

/* Runs one inference. */
void infer(void) {
  static const char *input_name = "x", *output_name = "y";
  check(run(session, NULL, &input_name, &input, 1, &output_name, 1, &output), "run");
}

/* Writes the durations of `runs` inferences, in nanoseconds, to `samples`. */
void timed(int64_t *samples, int64_t runs) {
  for (int64_t i = 0; i < runs; i++) {
    int64_t before = now();
    infer();
    samples[i] = now() - before;
  }
}

int main(int count, char **arguments) {
  if (count != 5 || prepare(arguments[1], arguments[2], atoll(arguments[3])) != 0) return 2;
  int64_t begin = now(), seconds = (int64_t)(atof(arguments[4]) * 1e9);
  int64_t limit = 1 << 20, runs = 0, *samples = calloc(limit, sizeof *samples);
  while (runs < limit && now() - begin < seconds) timed(&samples[runs++], 1);
  for (int64_t i = 0; i < runs; i++) printf("%lld\n", (long long)samples[i]);
  return 0;
}
