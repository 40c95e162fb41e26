/* NumPy's .npy files, read and written without trust in what they hold. */
#ifndef DS_NPY_H
#define DS_NPY_H

#include "ds.h"

/* Fills `data` with the array in a file that has the tensor's type and shape. NULL, or what is wrong with the file. */
const char *ds_npy_read(const char *path, const ds_tensor *tensor, void *data);
/* NULL, or why the file cannot be written. */
const char *ds_npy_write(const char *path, const ds_tensor *tensor, const void *data);
/* Reads a header of `size` bytes as the text behind the length field. NULL, or what does not fit the tensor. */
const char *ds_npy_check(const char *text, size_t size, const ds_tensor *tensor);

#endif
