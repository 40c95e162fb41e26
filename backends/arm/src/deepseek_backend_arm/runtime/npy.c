/* Format of NumPy's .npy files: NEP 1. Versions 1 to 3; C order; the machine's byte order, which is little-endian. */
#include "npy.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

enum { MOST_HEADER = 65536, PREFIX = 128 };

static const char *const descriptions[DS_TYPES] = {"f4", "i1", "u1", "i4", "i8", "b1", "f2"};

typedef struct {
    const char *at, *end;
} text;

static void skip_blanks(text *t) {
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\n')) t->at++;
}

static bool take(text *t, char wanted) {
    skip_blanks(t);
    if (t->at == t->end || *t->at != wanted) return false;
    t->at++;
    return true;
}

static bool take_word(text *t, const char *word) {
    skip_blanks(t);
    size_t size = strlen(word);
    if ((size_t)(t->end - t->at) < size || memcmp(t->at, word, size) != 0) return false;
    t->at += size;
    return true;
}

/* A quoted string without escapes, as keys and types are. */
static bool take_string(text *t, text *found) {
    skip_blanks(t);
    if (t->at == t->end || (*t->at != '\'' && *t->at != '"')) return false;
    char quote = *t->at++;
    found->at = t->at;
    while (t->at < t->end && *t->at != quote) t->at++;
    if (t->at == t->end) return false;
    found->end = t->at++;
    return true;
}

static bool is(text t, const char *word) {
    return (size_t)(t.end - t.at) == strlen(word) && memcmp(t.at, word, strlen(word)) == 0;
}

static bool take_number(text *t, int64_t *number) {
    skip_blanks(t);
    const char *start = t->at;
    for (*number = 0; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++) {
        if (*number > INT64_MAX / 16) return false;
        *number = *number * 10 + (*t->at - '0');
    }
    return t->at > start;
}

static const char *check_type(text *t, const ds_tensor *tensor) {
    text type;
    if (!take_string(t, &type) || type.end - type.at < 2) return "its header has no type";
    if (*type.at == '>') return "its numbers are big-endian; save it as little-endian";
    type.at++;
    return is(type, descriptions[tensor->type]) ? NULL : "its element type is not the input's";
}

static const char *check_shape(text *t, const ds_tensor *tensor) {
    static const char *const other = "its shape is not the input's";
    if (!take(t, '(')) return "its header has no shape";
    int rank = 0;
    while (!take(t, ')')) {
        int64_t size;
        if (!take_number(t, &size)) return "its header has no shape";
        if (rank >= tensor->rank || size != tensor->dims[rank]) return other;
        rank++;
        if (take(t, ',')) continue;
        if (!take(t, ')')) return "its header has no shape";
        break;
    }
    return rank == tensor->rank ? NULL : other;
}

const char *ds_npy_check(const char *header, size_t size, const ds_tensor *tensor) {
    text t = {header, header + size}, key;
    bool type = false, order = false, shape = false;
    const char *wrong = NULL;
    if (!take(&t, '{')) return "its header is no dictionary";
    while (!take(&t, '}')) {
        if (!take_string(&t, &key) || !take(&t, ':')) return "its header is damaged";
        if (is(key, "descr")) {
            wrong = check_type(&t, tensor);
            type = true;
        } else if (is(key, "fortran_order")) {
            if (take_word(&t, "True")) return "it is in Fortran order; save it in C order";
            if (!take_word(&t, "False")) return "its header is damaged";
            order = true;
        } else if (is(key, "shape")) {
            wrong = check_shape(&t, tensor);
            shape = true;
        } else {
            return "its header has an unknown key";
        }
        if (wrong != NULL) return wrong;
        if (take(&t, ',')) continue;
        if (!take(&t, '}')) return "its header is damaged";
        break;
    }
    return type && order && shape ? NULL : "its header lacks type, order or shape";
}

static bool read_all(int file, void *data, size_t size) {
    for (uint8_t *at = data; size > 0;) {
        ssize_t got = read(file, at, size);
        if (got <= 0) return false;
        at += got;
        size -= (size_t)got;
    }
    return true;
}

static const char *read_header(int file, const ds_tensor *tensor) {
    static char header[MOST_HEADER];
    uint8_t start[12];
    if (!read_all(file, start, 10) || memcmp(start, "\x93NUMPY", 6) != 0) return "it is no .npy file";
    size_t size = (size_t)start[8] | (size_t)start[9] << 8;
    if (start[6] < 1 || start[6] > 3) return "its format version is not 1, 2 or 3";
    if (start[6] > 1) {
        if (!read_all(file, start + 10, 2)) return "its header is cut off";
        size |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
    }
    if (size > sizeof header) return "its header is too long";
    if (!read_all(file, header, size)) return "its header is cut off";
    return ds_npy_check(header, size, tensor);
}

const char *ds_npy_read(const char *path, const ds_tensor *tensor, void *data) {
    int file = open(path, O_RDONLY);
    if (file < 0) return "it cannot be opened";
    const char *wrong = read_header(file, tensor);
    char more;
    if (wrong == NULL && !read_all(file, data, (size_t)tensor->bytes)) wrong = "its data is cut off";
    if (wrong == NULL && read(file, &more, 1) != 0) wrong = "there is more in it than its shape says";
    close(file);
    return wrong;
}

static bool write_all(int file, const void *data, size_t size) {
    for (const uint8_t *at = data; size > 0;) {
        ssize_t put = write(file, at, size);
        if (put <= 0) return false;
        at += put;
        size -= (size_t)put;
    }
    return true;
}

static char *put(char *at, const char *word) {
    size_t size = strlen(word);
    memcpy(at, word, size);
    return at + size;
}

static char *put_number(char *at, int32_t number) {
    char digits[12], *first = digits + sizeof digits;
    do *--first = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    size_t size = (size_t)(digits + sizeof digits - first);
    memcpy(at, first, size);
    return at + size;
}

/* Magic, version 1, length, and the dictionary filled up with blanks: PREFIX bytes, or twice as many for high ranks. */
static size_t header_of(const ds_tensor *tensor, char *out) {
    memset(out, ' ', 2 * PREFIX);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    bool plain = tensor->type == DS_INT8 || tensor->type == DS_UINT8 || tensor->type == DS_BOOL;
    char *at = put(out + 10, plain ? "{'descr': '|" : "{'descr': '<");
    at = put(put(at, descriptions[tensor->type]), "', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < tensor->rank; i++) {
        at = put_number(at, tensor->dims[i]);
        if (i + 1 < tensor->rank || tensor->rank == 1) at = put(at, i + 1 < tensor->rank ? ", " : ",");
    }
    at = put(at, "), }");
    size_t size = at + 1 - out <= PREFIX ? PREFIX : 2 * PREFIX;
    out[size - 1] = '\n';
    out[8] = (char)((size - 10) & 255);
    out[9] = (char)((size - 10) >> 8);
    return size;
}

const char *ds_npy_write(const char *path, const ds_tensor *tensor, const void *data) {
    char header[2 * PREFIX];
    size_t size = header_of(tensor, header);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file < 0) return "it cannot be opened for writing";
    bool done = write_all(file, header, size) && write_all(file, data, (size_t)tensor->bytes);
    return close(file) == 0 && done ? NULL : "it cannot be written";
}
