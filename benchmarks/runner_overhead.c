/* The yardstick of runner_overhead.py: ONNX Runtime called and timed from C.
 *
 * Usage: runner_overhead LIBRARY MODEL ELEMENTS SECONDS
 * Prints one duration in nanoseconds a line. The model has one float input "x" and one float
 * output "y", both vectors of ELEMENTS. Only functions from the head of OrtApi are used, whose places
 * never change (the structure only grows at its end), so no header is needed.
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

static Handle tensor(const Handle *api, Handle memory, int64_t elements, float **data) {
  Status (*create)(Handle, void *, size_t, const int64_t *, size_t, int, Handle *) =
      api[CREATE_TENSOR_WITH_DATA];
  Handle value;
  *data = calloc(elements, sizeof(float));
  for (int64_t i = 0; i < elements; i++) (*data)[i] = (float)(i % 17) / 17;
  check(create(memory, *data, elements * sizeof(float), &elements, 1, 1, &value), "tensor");
  return value;
}

int main(int count, char **arguments) {
  if (count != 5) return 2;
  void *library = dlopen(arguments[1], RTLD_NOW);
  const ApiBase *(*base)(void) = library ? dlsym(library, "OrtGetApiBase") : NULL;
  const Handle *api = base ? base()->get_api(14) : NULL;
  if (api == NULL) {
    fprintf(stderr, "%s is no ONNX Runtime\n", arguments[1]);
    return 1;
  }
  Status (*create_env)(int, const char *, Handle *) = api[CREATE_ENV];
  Status (*create_options)(Handle *) = api[CREATE_SESSION_OPTIONS];
  Status (*set_threads)(Handle, int) = api[SET_INTRA_OP_THREADS];
  Status (*create_session)(Handle, const char *, Handle, Handle *) = api[CREATE_SESSION];
  Status (*create_memory)(int, int, Handle *) = api[CREATE_CPU_MEMORY_INFO];
  Status (*run)(Handle, Handle, const char *const *, const Handle *, size_t, const char *const *,
                size_t, Handle *) = api[RUN];

  Handle env, options, session, memory;
  check(create_env(3, "yardstick", &env), "environment");
  check(create_options(&options), "options");
  check(set_threads(options, 1), "threads");
  check(create_session(env, arguments[2], options, &session), "session");
  check(create_memory(1, 0, &memory), "memory");
  float *in, *out;
  Handle input = tensor(api, memory, atoll(arguments[3]), &in);
  Handle output = tensor(api, memory, atoll(arguments[3]), &out);
  const char *input_name = "x", *output_name = "y";

  int64_t limit = 1 << 20, runs = 0, *samples = calloc(limit, sizeof *samples);
  int64_t begin = now(), seconds = (int64_t)(atof(arguments[4]) * 1e9);
  while (runs < limit && now() - begin < seconds) {
    int64_t before = now();
    Status status = run(session, NULL, &input_name, &input, 1, &output_name, 1, &output);
    samples[runs++] = now() - before;
    check(status, "run");
  }
  for (int64_t i = 0; i < runs; i++) printf("%lld\n", (long long)samples[i]);
  return 0;
}
