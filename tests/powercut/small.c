/*
 * small.c - the smallest durable program, to test the test with: a row in one
 * transaction, then a promise on a socket, again and again.
 *
 *   small DATABASE OFF|NORMAL|FULL ROWS
 *
 * With synchronous=FULL no promised row may be missing after any cut; with
 * less the replayer must find some, or it would find nothing in moonpool.
 */
#include <arpa/inet.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static sqlite3 *db;

static void sql(const char *text)
{
    if (sqlite3_exec(db, text, NULL, NULL, NULL)) {
        fprintf(stderr, "small: %s: %s\n", text, sqlite3_errmsg(db));
        exit(1);
    }
}

/* Both ends are ours; returns the one that is recorded. */
static int connection(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int to = socket(AF_INET, SOCK_STREAM, 0),
        from = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(to, (struct sockaddr *)&a, len) ||
        getsockname(to, (struct sockaddr *)&a, &len) || listen(to, 1) ||
        connect(from, (struct sockaddr *)&a, len))
        exit(1);
    return from;
}

int main(int argc, char **argv)
{
    char text[160];
    int out;

    if (argc != 4 || sqlite3_open(argv[1], &db))
        return 2;
    out = connection();
    sql("PRAGMA journal_mode=WAL");
    sql("PRAGMA wal_autocheckpoint=20");
    snprintf(text, sizeof text, "PRAGMA synchronous=%s", argv[2]);
    sql(text);
    sql("CREATE TABLE t (n INTEGER PRIMARY KEY, pad BLOB)");
    for (int n = 1; n <= atoi(argv[3]); n++) {
        snprintf(text, sizeof text,
                 "INSERT INTO t VALUES (%d, zeroblob(700)); ", n);
        sql(text);
        snprintf(text, sizeof text, "%d\n", n);
        if (write(out, text, strlen(text)) < 0)
            return 1;
    }
    sqlite3_close(db);
    return 0;
}
