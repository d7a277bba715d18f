// A plugin for qemu-aarch64 that counts what was executed: all instructions, and multiply-adds of four lanes (fmla .4s, by vector
// and by element). The declarations are those of qemu-plugin.h, version 1, which Debian does not package. One thread only.
//   gcc -O2 -shared -fPIC -o count.so count-instructions.c; qemu-aarch64 -plugin ./count.so PROGRAM
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int operation, void *, uint64_t);
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

int qemu_plugin_version = 1;

static const int ADD = 0;
static uint64_t instructions, fma;

static void translated(plugin_id id, struct qemu_plugin_tb *block) {
  (void)id;
  size_t n = qemu_plugin_tb_n_insns(block);
  uint64_t multiplies = 0;
  for (size_t i = 0; i < n; i++) {
    uint32_t code;
    memcpy(&code, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof code);
    multiplies += (code & 0xffe0fc00) == 0x4e20cc00 || (code & 0xffc0f400) == 0x4f801000;
  }
  qemu_plugin_register_vcpu_tb_exec_inline(block, ADD, &instructions, n);
  if (multiplies) qemu_plugin_register_vcpu_tb_exec_inline(block, ADD, &fma, multiplies);
}

static void at_exit(plugin_id id, void *data) {
  (void)id, (void)data;
  fprintf(stderr, "instructions %llu fma %llu\n", (unsigned long long)instructions, (unsigned long long)fma);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
  (void)info, (void)argc, (void)argv;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, at_exit, NULL);
  return 0;
}
