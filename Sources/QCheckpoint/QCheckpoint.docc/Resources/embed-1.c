#include <qcodec.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void check(qcodec_status status, const qcodec_error *error) {
  if (status == QCODEC_OK) return;
  fprintf(stderr, "%s\n", qcodec_error_description(error));
  exit(1);
}

int main(void) {
  static float m[10000], v[10000];
  for (int i = 0; i < 10000; i++) {
    m[i] = (float)(i % 97) / 97 - 0.5f;
    v[i] = m[i] * m[i] * 0.1f;
  }
  const uint64_t shape[] = {100, 100};
  const qcodec_tensor tensors[] = {
    {.name = "weight.exp_avg", .dtype = QCODEC_F32, .shape = shape, .dims = 2, .data = m, .size = sizeof m},
    {.name = "weight.exp_avg_sq", .dtype = QCODEC_F32, .shape = shape, .dims = 2, .data = v, .size = sizeof v},
  };

  qcodec_error *error = NULL;
  qcodec_policy *policy = NULL;
  qcodec_writer *writer = NULL;
  qcodec_written written;
  check(qcodec_policy_preset("adam8", &policy, &error), error);
  check(qcodec_writer_create("state.qckpt", NULL, &writer, &error), error);
  check(qcodec_writer_add(writer, tensors, 2, policy, NULL, &error), error);
  check(qcodec_writer_commit(writer, &written, &error), error);
  printf("%llu bytes\n", (unsigned long long)written.file_bytes);
  qcodec_writer_free(writer);
  qcodec_policy_free(policy);
}
