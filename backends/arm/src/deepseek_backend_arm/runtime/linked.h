/* Functions that another compiler made: they get the places of their arguments. */
#ifndef DS_LINKED_H
#define DS_LINKED_H

#include <stdint.h>

typedef void (*ds_function_of_places)(uint8_t *const *places);

extern const ds_function_of_places ds_linked[];
extern const int32_t ds_linked_count;
/* Units that they compute. */
extern const char ds_linked_units[];

#endif
