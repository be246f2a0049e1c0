/*
 * siblings.c - a function is named after its directory, or as its
 * function.conf says: the first is looked at first, since it is nearly always
 * that.
 */
#include "core/siblings.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/ini.h"

/* [function] name; NULL: none. */
static const char *given_name(const struct mp_ini *ini)
{
    const char *name = NULL;

    for (unsigned i = 0; i < ini->n_sections; i++) {
        const struct mp_ini_section *s = &ini->sections[i];

        for (unsigned l = 0; strcmp(s->kind, "function") == 0 && l < s->n_lines;
             l++)
            if (strcmp(s->lines[l].key, "name") == 0)
                name = s->lines[l].value;
    }
    return name;
}

/* Is DIR/ENTRY a function of this name? */
static bool is_named(int dir, const char *entry, const char *name)
{
    char file[NAME_MAX + sizeof "/function.conf"];
    struct mp_report quiet = {.say = NULL};
    const char *given;
    struct mp_ini ini;
    struct mp_buf conf;
    struct mp_why why;
    bool is;

    snprintf(file, sizeof file, "%s/function.conf", entry);
    mp_buf_init(&conf, MP_FILE_MAX);
    if (mp_file_read(dir, file, MP_FILE_MAX, &conf, &why)) {
        mp_buf_fini(&conf);
        return false;
    }
    mp_ini_read(&ini, file, mp_buf_bytes(&conf), &quiet);
    given = given_name(&ini);
    is = strcmp(given && *given ? given : entry, name) == 0;
    mp_ini_fini(&ini);
    mp_buf_fini(&conf);
    return is;
}

bool mp_sibling_is(const char *path, const char *name)
{
    char parent[PATH_MAX];
    struct dirent *entry;
    bool found;
    DIR *dir;

    if (!realpath(path, parent))
        return true;
    *strrchr(parent, '/') = '\0';
    dir = opendir(*parent ? parent : "/");
    if (!dir)
        return true;
    found = is_named(dirfd(dir), name, name);
    while (!found && (entry = readdir(dir)))
        found = entry->d_name[0] != '.' &&
                is_named(dirfd(dir), entry->d_name, name);
    closedir(dir);
    return found;
}
