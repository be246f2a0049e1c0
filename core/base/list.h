/*
 * list.h - an intrusive doubly linked ring, for queues that own no memory.
 *
 * A struct mp_link inside a structure is its place in a list; an empty head
 * points to itself.  An unlinked link points to itself too, so unlinking
 * twice is fine.
 */
#ifndef MP_BASE_LIST_H
#define MP_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct mp_link {
    struct mp_link *next, *prev;
};

#define mp_of(link, type, member)                                              \
    ((type *)((char *)(link)-offsetof(type, member)))

#define mp_list_each(at, head)                                                 \
    for (struct mp_link *at = (head)->next; at != (head); at = at->next)

/* As mp_list_each; the body may unlink at. */
#define mp_list_each_safe(at, head)                                            \
    for (struct mp_link *at = (head)->next, *at##_next = at->next;             \
         at != (head); at = at##_next, at##_next = at->next)

static inline void mp_list_init(struct mp_link *l)
{
    l->next = l->prev = l;
}

static inline bool mp_list_empty(const struct mp_link *head)
{
    return head->next == head;
}

/* Put l right before where: before the head is the end of the list. */
static inline void mp_list_before(struct mp_link *where, struct mp_link *l)
{
    l->prev = where->prev;
    l->next = where;
    where->prev->next = l;
    where->prev = l;
}

static inline void mp_list_append(struct mp_link *head, struct mp_link *l)
{
    mp_list_before(head, l);
}

static inline void mp_list_prepend(struct mp_link *head, struct mp_link *l)
{
    mp_list_before(head->next, l);
}

static inline void mp_list_unlink(struct mp_link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    mp_list_init(l);
}

#endif
