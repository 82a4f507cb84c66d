// Trains a small network with Adam, and keeps its state in a checkpoint: moments in 8 bits, parameters bit for bit.
//
//   cc -O2 train.c $(pkg-config --cflags --libs qcodec) -lm -o train
//   ./train state.qckpt --steps 100      # begins, or goes on where the file stands
//
// The network tells on which side of a surface a point of 32 dimensions lies; the surface is that of another network, with
// random weights. Examples follow from their number alone, so that a resumed run sees those that an uninterrupted one sees.

#include <math.h>
#include <qcodec.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INPUTS = 32, HIDDEN = 256, BATCH = 64, HELD_OUT = 2000, TEACHER = 8, PARAMETERS = 4 };

static void fail(const char *what, const char *why) {
  fprintf(stderr, "train: %s: %s\n", what, why);
  exit(1);
}

/// Ends the program where a function of qcodec failed.
static void check(qcodec_status status, const qcodec_error *error, const char *what) {
  if (status != QCODEC_OK) fail(what, qcodec_error_description(error));
}

static void *allocate(size_t size) {
  void *memory = calloc(size, 1);
  if (memory == NULL) fail("memory", "there is none left");
  return memory;
}

// MARK: Model

/// A tensor of the model with its gradient and its two moments.
typedef struct {
  const char *name;
  uint64_t shape[2];
  size_t dims, count;
  float *value, *gradient, *first, *second;
} Parameter;

/// Everything that training changes, and what it does it by.
typedef struct {
  Parameter parameters[PARAMETERS];
  long step;
  double rate, beta1, beta2, epsilon;
} Training;

enum { HIDDEN_WEIGHT, HIDDEN_BIAS, OUTPUT_WEIGHT, OUTPUT_BIAS };

/// A number in [-1, 1) that follows from its place.
static float noise(uint64_t place) {
  uint64_t x = (place + 1) * 0x9E3779B97F4A7C15u;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
  x = (x ^ x >> 27) * 0x94D049BB133111EBu;
  return (float)((x ^ x >> 31) >> 40) / 8388608.0f - 1;
}

static Training new_training(void) {
  Training training = {
    .parameters =
      {{.name = "hidden.weight", .shape = {HIDDEN, INPUTS}, .dims = 2},
       {.name = "hidden.bias", .shape = {HIDDEN}, .dims = 1},
       {.name = "output.weight", .shape = {1, HIDDEN}, .dims = 2},
       {.name = "output.bias", .shape = {1}, .dims = 1}},
    .rate = 3e-3,
    .beta1 = 0.9,
    .beta2 = 0.999,
    .epsilon = 1e-8};
  for (int i = 0; i < PARAMETERS; i++) {
    Parameter *p = &training.parameters[i];
    p->count = p->shape[0] * (p->dims == 2 ? p->shape[1] : 1);
    p->value = allocate(p->count * sizeof(float));
    p->gradient = allocate(p->count * sizeof(float));
    p->first = allocate(p->count * sizeof(float));
    p->second = allocate(p->count * sizeof(float));
    float scale = p->dims == 2 ? 1 / sqrtf((float)p->shape[1]) : 0;
    for (size_t j = 0; j < p->count; j++) p->value[j] = scale * noise(1000000 * (uint64_t)(i + 1) + j);
  }
  return training;
}

static void free_training(Training *training) {
  for (int i = 0; i < PARAMETERS; i++) {
    Parameter *p = &training->parameters[i];
    free(p->value);
    free(p->gradient);
    free(p->first);
    free(p->second);
  }
}

/// Example `number`: a point, and 1 or 0.
static float example(uint64_t number, float x[INPUTS]) {
  for (int i = 0; i < INPUTS; i++) x[i] = noise(1000000000u + number * INPUTS + (uint64_t)i);
  float sum = 0;
  for (uint64_t k = 0; k < TEACHER; k++) {
    float dot = 0;
    for (uint64_t i = 0; i < INPUTS; i++) dot += noise(500000000u + k * INPUTS + i) * x[i];
    sum += noise(600000000u + k) * tanhf(2 * dot);
  }
  return sum > 0 ? 1 : 0;
}

/// The loss of an example; adds to gradients if they are wanted.
static double run(Training *training, uint64_t number, int want_gradients) {
  Parameter *p = training->parameters;
  float x[INPUTS], hidden[HIDDEN];
  float wanted = example(number, x);
  float output = p[OUTPUT_BIAS].value[0];
  for (int h = 0; h < HIDDEN; h++) {
    float sum = p[HIDDEN_BIAS].value[h];
    for (int i = 0; i < INPUTS; i++) sum += p[HIDDEN_WEIGHT].value[h * INPUTS + i] * x[i];
    hidden[h] = tanhf(sum);
    output += p[OUTPUT_WEIGHT].value[h] * hidden[h];
  }
  if (want_gradients) {
    float slope = (1 / (1 + expf(-output)) - wanted) / BATCH;
    p[OUTPUT_BIAS].gradient[0] += slope;
    for (int h = 0; h < HIDDEN; h++) {
      p[OUTPUT_WEIGHT].gradient[h] += slope * hidden[h];
      float inner = slope * p[OUTPUT_WEIGHT].value[h] * (1 - hidden[h] * hidden[h]);
      p[HIDDEN_BIAS].gradient[h] += inner;
      for (int i = 0; i < INPUTS; i++) p[HIDDEN_WEIGHT].gradient[h * INPUTS + i] += inner * x[i];
    }
  }
  // log(1 + e^-|o|) does not overflow.
  return fmaxf(output, 0) - output * wanted + log1p(exp(-fabs(output)));
}

static void train_step(Training *training) {
  for (int i = 0; i < PARAMETERS; i++) {
    memset(training->parameters[i].gradient, 0, training->parameters[i].count * sizeof(float));
  }
  for (uint64_t i = 0; i < BATCH; i++) run(training, HELD_OUT + (uint64_t)training->step * BATCH + i, 1);
  training->step += 1;
  double correction1 = 1 - pow(training->beta1, (double)training->step);
  double correction2 = 1 - pow(training->beta2, (double)training->step);
  for (int i = 0; i < PARAMETERS; i++) {
    Parameter *p = &training->parameters[i];
    for (size_t j = 0; j < p->count; j++) {
      double g = p->gradient[j];
      p->first[j] = (float)(training->beta1 * p->first[j] + (1 - training->beta1) * g);
      p->second[j] = (float)(training->beta2 * p->second[j] + (1 - training->beta2) * g * g);
      double root = sqrt(p->second[j] / correction2) + training->epsilon;
      p->value[j] -= (float)(training->rate * (p->first[j] / correction1) / root);
    }
  }
}

/// The mean loss over examples that training never sees.
static double held_out_loss(Training *training) {
  double sum = 0;
  for (uint64_t i = 0; i < HELD_OUT; i++) sum += run(training, i, 0);
  return sum / HELD_OUT;
}

// MARK: State

/// Describes one array of a parameter; the suffix tells the policy what it is.
static qcodec_tensor described(const Parameter *p, const char *suffix, float *data, char name[64]) {
  snprintf(name, 64, "%s%s", p->name, suffix);
  qcodec_tensor tensor = {0};
  tensor.name = name;
  tensor.dtype = QCODEC_F32;
  tensor.role = QCODEC_ROLE_PARAMETER;
  tensor.shape = p->shape;
  tensor.dims = p->dims;
  tensor.data = data;
  tensor.size = p->count * sizeof(float);
  return tensor;
}

static void save(Training *training, const char *path) {
  qcodec_error *error = NULL;
  qcodec_policy *policy = NULL;
  qcodec_writer *writer = NULL;
  check(qcodec_policy_preset("adam8", &policy, &error), error, "policy");
  check(qcodec_writer_create(path, NULL, &writer, &error), error, path);

  char metadata[256];
  int length = snprintf(
    metadata, sizeof metadata,
    "{\"step\": \"%ld\", \"rate\": \"%.17g\", \"beta1\": \"%.17g\", \"beta2\": \"%.17g\", \"epsilon\": \"%.17g\"}",
    training->step, training->rate, training->beta1, training->beta2, training->epsilon);
  check(qcodec_writer_set_metadata(writer, metadata, (size_t)length, &error), error, "metadata");

  // All in one call: first moments are stored with their second moments.
  qcodec_tensor tensors[3 * PARAMETERS];
  char names[3 * PARAMETERS][64];
  for (int i = 0; i < PARAMETERS; i++) {
    Parameter *p = &training->parameters[i];
    tensors[3 * i] = described(p, "", p->value, names[3 * i]);
    tensors[3 * i + 1] = described(p, ".exp_avg", p->first, names[3 * i + 1]);
    tensors[3 * i + 2] = described(p, ".exp_avg_sq", p->second, names[3 * i + 2]);
  }
  check(qcodec_writer_add(writer, tensors, 3 * PARAMETERS, policy, NULL, &error), error, path);

  // The file of the last time stays until this returns.
  qcodec_written written;
  check(qcodec_writer_commit(writer, &written, &error), error, path);
  printf(
    "saved %llu bytes as %llu\n", (unsigned long long)written.source_bytes, (unsigned long long)written.file_bytes);
  qcodec_writer_free(writer);
  qcodec_policy_free(policy);
}

/// A number of the metadata. They are JSON; what `save` wrote needs no more than this to be read.
static double number(const char *json, const char *key) {
  char quoted[32];
  snprintf(quoted, sizeof quoted, "\"%s\"", key);
  const char *place = strstr(json, quoted);
  if (place == NULL) fail(key, "not in the metadata");
  place += strlen(quoted);
  return strtod(place + strspn(place, ": \""), NULL);
}

static void load(Training *training, const char *path) {
  qcodec_error *error = NULL;
  qcodec_reader *reader = NULL;
  check(qcodec_reader_open(path, &reader, &error), error, path);

  char *metadata = NULL;
  check(qcodec_reader_member(reader, "metadata", &metadata, NULL, &error), error, path);
  training->step = (long)number(metadata, "step");
  training->rate = number(metadata, "rate");
  training->beta1 = number(metadata, "beta1");
  training->beta2 = number(metadata, "beta2");
  training->epsilon = number(metadata, "epsilon");
  qcodec_string_free(metadata);

  qcodec_read_request requests[3 * PARAMETERS];
  for (int i = 0; i < PARAMETERS; i++) {
    Parameter *p = &training->parameters[i];
    float *targets[3] = {p->value, p->first, p->second};
    static const char *const suffixes[3] = {"", ".exp_avg", ".exp_avg_sq"};
    for (int j = 0; j < 3; j++) {
      char name[64];
      snprintf(name, sizeof name, "%s%s", p->name, suffixes[j]);
      int64_t tensor = qcodec_reader_find(reader, name);
      if (tensor < 0) fail(name, "not in the checkpoint");
      requests[3 * i + j] = (qcodec_read_request){(size_t)tensor, targets[j], p->count * sizeof(float)};
    }
  }
  check(qcodec_reader_read(reader, requests, 3 * PARAMETERS, 0, &error), error, path);
  qcodec_reader_free(reader);
}

int main(int count, char **arguments) {
  if (count != 4 || strcmp(arguments[2], "--steps") != 0) {
    fprintf(stderr, "usage: train FILE --steps N\n");
    return 2;
  }
  const char *path = arguments[1];
  long steps = atol(arguments[3]);
  Training training = new_training();
  if (access(path, F_OK) == 0) load(&training, path);
  printf("step %ld loss %.6f\n", training.step, held_out_loss(&training));
  for (long i = 0; i < steps; i++) train_step(&training);
  printf("step %ld loss %.6f\n", training.step, held_out_loss(&training));
  save(&training, path);
  free_training(&training);
  return 0;
}
