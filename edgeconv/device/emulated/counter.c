/* A QEMU user-mode plugin that counts the instructions which a program executes, by class.
 *
 * The program marks a moment with getpriority(0x51, TAG), which fails and does nothing else. For
 * every mark the plugin appends one line to the file of its argument out=FILE:
 *     TAG total load_store simd fmla dot_product matrix
 * with the counts since the start. Classes overlap: fmla, dot_product and matrix are simd too. Of
 * 32-bit programs only the total is counted, the other columns are "-".
 *
 * Encodings: Arm Architecture Reference Manual for A-profile (DDI 0487), chapter C4, "A64
 * instruction set encoding". The interface: QEMU's docs/devel/tcg-plugins.rst, version 1 (QEMU 6.0
 * to 8.x); what is used of it is declared here, so no header of QEMU is needed. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define MARK 0x51u

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct info {
    const char *target_name;
};
enum { ADD_U64 = 0 }; /* the one inline operation */

typedef void on_translation(plugin_id, struct qemu_plugin_tb *);
typedef void on_syscall(plugin_id, unsigned int vcpu, int64_t number, uint64_t, uint64_t, uint64_t,
                        uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_translation *);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, on_syscall *);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int operation,
                                                     void *target, uint64_t addend);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

EXPORT int qemu_plugin_version = 1;

enum { TOTAL, LOAD_STORE, SIMD, FMLA, DOT_PRODUCT, MATRIX, CLASSES };

/* One translated block. Counting a block's executions inline and multiplying at a mark is many
 * times faster than a callback a block. Two threads may lose a count; one thread never does. */
struct block {
    uint64_t executions;
    uint32_t instructions[CLASSES];
    struct block *next;
};

static struct block *blocks;
static bool is_a64;
static int64_t mark_syscall; /* the number of getpriority */
static const char *path;

static bool is(uint32_t word, uint32_t mask, uint32_t value)
{
    return (word & mask) == value;
}

static void classify(uint32_t word, uint32_t *counts)
{
    if (is(word, 0x0a000000, 0x08000000)) { /* op0 x1x0 */
        counts[LOAD_STORE]++;
        return;
    }
    if (!is(word, 0x0e000000, 0x0e000000)) /* op0 x111 */
        return;
    counts[SIMD]++;
    if (is(word, 0xbfa0fc00, 0x0e20cc00)       /* FMLA (vector), single and double */
        || is(word, 0xbfe0fc00, 0x0e400c00)    /* FMLA (vector), half */
        || is(word, 0xbf80f400, 0x0f801000)    /* FMLA (by element), single and double */
        || is(word, 0xbfc0f400, 0x0f001000)    /* FMLA (by element), half */
        || is(word, 0xff208000, 0x1f000000))   /* FMADD */
        counts[FMLA]++;
    else if (is(word, 0x9fe0fc00, 0x0e809400)     /* SDOT, UDOT (vector) */
             || is(word, 0x9fc0f400, 0x0f80e000)) /* SDOT, UDOT (by element) */
        counts[DOT_PRODUCT]++;
    else if (is(word, 0xdfe0f400, 0x4e80a400)) /* SMMLA, UMMLA, USMMLA */
        counts[MATRIX]++;
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
    struct block *block = calloc(1, sizeof *block);
    if (!block)
        abort();
    size_t n = qemu_plugin_tb_n_insns(tb);
    block->instructions[TOTAL] = n;
    for (size_t i = 0; is_a64 && i < n; i++) {
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(tb, i)), sizeof word);
        classify(word, block->instructions);
    }
    /* QEMU may translate in several threads at once. */
    block->next = __atomic_load_n(&blocks, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&blocks, &block->next, block, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
        ;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &block->executions, 1);
}

static void write_line(unsigned int tag)
{
    uint64_t sums[CLASSES] = {0};
    struct block *block = __atomic_load_n(&blocks, __ATOMIC_ACQUIRE);
    for (; block; block = block->next)
        for (int c = 0; c < CLASSES; c++)
            sums[c] += block->executions * block->instructions[c];
    FILE *file = fopen(path, "a");
    if (!file)
        return; /* the reader will miss the line, and say so */
    fprintf(file, "%u %" PRIu64, tag, sums[TOTAL]);
    for (int c = TOTAL + 1; c < CLASSES; c++)
        is_a64 ? fprintf(file, " %" PRIu64, sums[c]) : fprintf(file, " -");
    fputc('\n', file);
    fclose(file);
}

static void syscall_made(plugin_id id, unsigned int vcpu, int64_t number, uint64_t which,
                         uint64_t who, uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6,
                         uint64_t a7, uint64_t a8)
{
    if (number == mark_syscall && (uint32_t)which == MARK)
        write_line((uint32_t)who);
}

EXPORT int qemu_plugin_install(plugin_id id, const struct info *info, int argc, char **argv)
{
    is_a64 = strcmp(info->target_name, "aarch64") == 0;
    mark_syscall = is_a64 ? 141 : 96;
    for (int i = 0; i < argc; i++)
        if (strncmp(argv[i], "out=", 4) == 0)
            path = strdup(argv[i] + 4);
    if (!path)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, syscall_made);
    return 0;
}
