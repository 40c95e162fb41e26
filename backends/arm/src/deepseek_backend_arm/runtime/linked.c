/* No functions of another compiler; programs that have some bring a file of this name. */
#include "linked.h"

#include <stddef.h>

const ds_function_of_places ds_linked[] = {NULL};
const int32_t ds_linked_count = 0;
const char ds_linked_units[] = "";
