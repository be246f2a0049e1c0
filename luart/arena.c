/*
 * arena.c - an allocator that can be copied.
 *
 * Everything it knows lies in struct books at the arena's start, and links
 * inside free blocks are addresses in the arena, which never moves.  So the
 * bytes [base, end) are complete: copied back, they are the heap as it was.
 *
 *   | books | block | block | chunk of small ones | block | ...      | limit
 *   base                                                   end
 *
 * Small sizes (up to SMALL_MAX; most of what Lua asks for) have no header:
 * Lua tells the old size when it frees.  They are cut from chunks in classes
 * of 16 bytes and freed to a list per class, last in first out.  What is
 * larger is a block with its size and that of the block before it, so that
 * neighbours can join; free blocks wait in bins, two per power of two.  A
 * free block at the end joins the untouched rest: end comes down again.
 *
 * What is small stays small: chunks are never given back.  A run lives for
 * milliseconds and its heap is then overwritten; that is the compaction.
 */
#include "luart/arena.h"

#include <stddef.h>
#include <sys/mman.h>

#include "core/base/limits.h"

enum {
    UNIT = 16,
    SMALL_MAX = 256,
    CLASSES = SMALL_MAX / UNIT + 1,
    CHUNK = 1024,
    BINS = 40,
    SCAN_MAX = 16, /* blocks of one bin looked at before taking a larger */
    SPLIT_MIN = 64,
    GUARD = 64 << 10, /* past any page size */
};

struct small {
    struct small *next;
};

struct block {
    uint32_t size;   /* header included; bit 0: in use */
    uint32_t before; /* size of the block before; 0: the first */
    /* of a free block, offsets from the base; 0: none */
    uint32_t next, prev;
};

enum { HEADER = offsetof(struct block, next), USED = 1 };

struct books {
    uint32_t end, last;        /* bytes in use; size of the last block */
    uint32_t chunk, chunk_end; /* small ones are cut from here */
    uint64_t filled;           /* bins that hold something */
    struct small *free[CLASSES];
    uint32_t bin[BINS];
};

/* Payloads are aligned to UNIT, so headers stand just before. */
enum {
    FIRST = (sizeof(struct books) + HEADER + UNIT - 1) / UNIT * UNIT - HEADER
};

static struct books *books; /* at the arena's start */
static size_t limit, touched;
static void (*leave)(void);

int mp_arena_open(void (*full)(void), struct mp_why *why)
{
    void *at;

    leave = full;
    if (books)
        return 0;
    at = mmap(NULL, MP_MEMORY_MAX + GUARD, PROT_NONE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED || mprotect(at, MP_MEMORY_MAX, PROT_READ | PROT_WRITE))
        return mp_why_errno(why, "map %d bytes for Lua", MP_MEMORY_MAX);
    books = at;
    mp_arena_reset(MP_MEMORY_MIN);
    return 0;
}

void mp_arena_reset(uint32_t new_limit)
{
    MP_ASSERT(new_limit >= sizeof *books && new_limit <= MP_MEMORY_MAX);
    memset(books, 0, sizeof *books);
    books->end = FIRST;
    limit = new_limit;
}

static void note_touched(void)
{
    if (books->end > touched)
        touched = books->end;
}

struct mp_slice mp_arena_used(void)
{
    note_touched();
    return mp_slice(books, books->end);
}

void mp_arena_restore(struct mp_slice bytes, uint32_t new_limit)
{
    note_touched();
    memcpy(books, bytes.ptr, bytes.len);
    limit = new_limit;
}

size_t mp_arena_touched(void)
{
    note_touched();
    return touched;
}

void mp_arena_give_back(size_t keep)
{
    keep = (keep + GUARD - 1) / GUARD * GUARD;
    if (keep < MP_MEMORY_MAX)
        madvise((char *)books + keep, MP_MEMORY_MAX - keep, MADV_DONTNEED);
    touched = 0;
}

/* ---- blocks ---- */

static struct block *block_at(uint32_t offset)
{
    return (struct block *)(void *)((char *)books + offset);
}

static uint32_t offset_of(const struct block *b)
{
    return (uint32_t)((const char *)b - (const char *)books);
}

static uint32_t size_of(const struct block *b)
{
    return b->size & ~(uint32_t)USED;
}

static struct block *after(const struct block *b)
{
    return block_at(offset_of(b) + size_of(b));
}

/* Tell the neighbour on the right, or the books, how long b is now. */
static void set_size(struct block *b, uint32_t size, uint32_t used)
{
    uint32_t right = offset_of(b) + size;

    b->size = size | used;
    if (right == books->end)
        books->last = size;
    else
        block_at(right)->before = size;
}

static unsigned bin_of(uint32_t size)
{
    unsigned top = 31 - (unsigned)__builtin_clz(size);

    return top < 8 ? 0 : (top - 8) * 2 + 1 + ((size >> (top - 1)) & 1);
}

static void bin_add(struct block *b)
{
    unsigned i = bin_of(size_of(b));

    b->prev = 0;
    b->next = books->bin[i];
    if (b->next)
        block_at(b->next)->prev = offset_of(b);
    books->bin[i] = offset_of(b);
    books->filled |= UINT64_C(1) << i;
}

static void bin_remove(struct block *b)
{
    unsigned i = bin_of(size_of(b));

    if (b->next)
        block_at(b->next)->prev = b->prev;
    if (b->prev)
        block_at(b->prev)->next = b->next;
    else
        books->bin[i] = b->next;
    if (!books->bin[i])
        books->filled &= ~(UINT64_C(1) << i);
}

/* Move the end so that size more bytes are in use, or leave for good. */
static uint32_t extend(size_t size)
{
    uint32_t from = books->end;

    if (size > limit - from) {
        leave();
        mp_bug(__FILE__, __LINE__, "the arena is full and nobody left");
    }
    books->end += (uint32_t)size;
    return from;
}

/* A free block of at least size bytes, out of its bin; or NULL. */
static struct block *take_free(uint32_t size)
{
    unsigned i = bin_of(size), scanned = 0;
    uint64_t larger;

    for (uint32_t at = books->bin[i]; at && scanned < SCAN_MAX; scanned++) {
        struct block *b = block_at(at);

        if (b->size >= size) {
            bin_remove(b);
            return b;
        }
        at = b->next;
    }
    larger = books->filled & (~UINT64_C(0) << i << 1);
    if (larger) {
        struct block *b = block_at(books->bin[__builtin_ctzll(larger)]);

        bin_remove(b);
        return b;
    }
    return NULL;
}

static void large_free(struct block *b)
{
    uint32_t size = size_of(b);

    if (b->before) {
        struct block *left = block_at(offset_of(b) - b->before);

        if (!(left->size & USED)) {
            bin_remove(left);
            size += left->size;
            b = left;
        }
    }
    if (offset_of(b) + size != books->end) {
        struct block *right = block_at(offset_of(b) + size);

        if (!(right->size & USED)) {
            bin_remove(right);
            size += right->size;
        }
    }
    if (offset_of(b) + size == books->end) {
        note_touched();
        books->end = offset_of(b);
        books->last = b->before;
        return;
    }
    set_size(b, size, 0);
    bin_add(b);
}

/* Cut b, in use, down to size; the rest becomes free. */
static void trim(struct block *b, uint32_t size)
{
    uint32_t rest = size_of(b) - size;
    struct block *free_part;

    if (rest < SPLIT_MIN)
        return;
    b->size = size | USED;
    free_part = after(b);
    free_part->before = size;
    set_size(free_part, rest, USED);
    large_free(free_part);
}

static uint32_t block_size(size_t size)
{
    if (size > limit)
        extend(size); /* leaves */
    return (uint32_t)((size + HEADER + UNIT - 1) / UNIT * UNIT);
}

static void *large_alloc(size_t bytes)
{
    uint32_t size = block_size(bytes);
    struct block *b = take_free(size);

    if (b) {
        b->size |= USED;
        trim(b, size);
    } else {
        uint32_t before = books->last;

        b = block_at(extend(size));
        b->before = before;
        set_size(b, size, USED);
    }
    return (char *)b + HEADER;
}

/* Make b fit for bytes where it stands; false: it can't. */
static bool large_resize(struct block *b, size_t bytes)
{
    uint32_t size = block_size(bytes), have = size_of(b);
    uint32_t right = offset_of(b) + have;

    if (size > have) {
        if (right == books->end) {
            extend(size - have);
            set_size(b, size, USED);
            return true;
        }
        if ((block_at(right)->size & USED) ||
            block_at(right)->size < size - have)
            return false;
        bin_remove(block_at(right));
        set_size(b, have + block_at(right)->size, USED);
    }
    trim(b, size);
    return true;
}

/* ---- small ---- */

static void *small_cut(size_t size)
{
    uint32_t left = books->chunk_end - books->chunk;
    void *got;

    if (left < size) {
        char *chunk = large_alloc(CHUNK - HEADER);

        if (left) {
            struct small *rest = (void *)((char *)books + books->chunk);

            rest->next = books->free[left / UNIT];
            books->free[left / UNIT] = rest;
        }
        books->chunk = (uint32_t)(chunk - (char *)books);
        books->chunk_end = books->chunk + (CHUNK - HEADER) / UNIT * UNIT;
    }
    got = (char *)books + books->chunk;
    books->chunk += (uint32_t)size;
    return got;
}

static inline void *get(size_t size)
{
    size_t class = (size + UNIT - 1) / UNIT;
    struct small *s;

    if (size > SMALL_MAX)
        return large_alloc(size);
    s = books->free[class];
    if (!s)
        return small_cut(class * UNIT);
    books->free[class] = s->next;
    return s;
}

static inline struct block *block_of(void *payload)
{
    return (struct block *)(void *)((char *)payload - HEADER);
}

static inline void put(void *old, size_t size)
{
    size_t class = (size + UNIT - 1) / UNIT;
    struct small *s = old;

    if (size > SMALL_MAX) {
        large_free(block_of(old));
        return;
    }
    s->next = books->free[class];
    books->free[class] = s;
}

void *mp_arena_alloc(void *unused, void *old, size_t old_size, size_t size)
{
    void *got;

    (void)unused;
    if (!old)
        return size ? get(size) : NULL;
    if (size == 0) {
        if (old_size)
            put(old, old_size);
        return NULL;
    }
    if (size <= SMALL_MAX) {
        if (old_size <= SMALL_MAX &&
            (size + UNIT - 1) / UNIT == (old_size + UNIT - 1) / UNIT)
            return old;
    } else if (old_size > SMALL_MAX && large_resize(block_of(old), size)) {
        return old;
    }
    got = get(size);
    memcpy(got, old, size < old_size ? size : old_size);
    put(old, old_size);
    return got;
}
