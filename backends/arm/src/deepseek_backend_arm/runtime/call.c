/* A call of what another compiler made, on the thread that runs the model. */
#include "linked.h"

#include "args.h"
#include "internal.h"

void ds_call(ds_context *context, const void *arguments) {
    const ds_call_args *a = arguments;
    const int32_t given[] = {a->p0,  a->p1,  a->p2,  a->p3,  a->p4,  a->p5,  a->p6,  a->p7,  a->p8,  a->p9,  a->p10,
                             a->p11, a->p12, a->p13, a->p14, a->p15, a->p16, a->p17, a->p18, a->p19, a->p20, a->p21,
                             a->p22, a->p23, a->p24, a->p25, a->p26, a->p27, a->p28, a->p29, a->p30, a->p31};
    enum { COUNT = sizeof given / sizeof *given };
    uint8_t *places[COUNT];
    for (int i = 0; i < COUNT; i++) places[i] = given[i] == DS_NOWHERE ? NULL : ds_at(context, given[i]);
    ds_linked[a->function](places);
}
