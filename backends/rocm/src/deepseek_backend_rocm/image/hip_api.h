/* What the launcher uses of HIP: the installed header, or with DS_NO_HIP_HEADERS the same declarations, so that any C
 * compiler builds it. Source: HIP API reference, hip/hip_runtime_api.h (functions and values are stable C ABI). */
#ifndef DS_HIP_API_H
#define DS_HIP_API_H

#ifndef DS_NO_HIP_HEADERS
#ifndef __HIP_PLATFORM_AMD__
#define __HIP_PLATFORM_AMD__ 1
#endif
#include <hip/hip_runtime_api.h>
#else
#include <stddef.h>

typedef int hipError_t;
typedef struct ihipModule_t *hipModule_t;
typedef struct ihipModuleSymbol_t *hipFunction_t;
typedef struct ihipStream_t *hipStream_t;
typedef struct ihipGraph *hipGraph_t;
typedef struct hipGraphExec *hipGraphExec_t;

enum { hipSuccess = 0 };
enum { hipMemcpyHostToDevice = 1, hipMemcpyDeviceToHost = 2 };
enum { hipStreamCaptureModeGlobal = 0 };
#define HIP_LAUNCH_PARAM_BUFFER_POINTER ((void *)0x01)
#define HIP_LAUNCH_PARAM_BUFFER_SIZE ((void *)0x02)
#define HIP_LAUNCH_PARAM_END ((void *)0x03)

extern const char *hipGetErrorString(hipError_t error);
extern hipError_t hipGetDeviceCount(int *count);
extern hipError_t hipSetDevice(int device);
extern hipError_t hipMalloc(void **pointer, size_t size);
extern hipError_t hipFree(void *pointer);
extern hipError_t hipMemcpy(void *to, const void *from, size_t size, int kind);
extern hipError_t hipModuleLoadData(hipModule_t *module, const void *image);
extern hipError_t hipModuleUnload(hipModule_t module);
extern hipError_t hipModuleGetFunction(hipFunction_t *function, hipModule_t module, const char *name);
extern hipError_t hipModuleLaunchKernel(hipFunction_t function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                                        hipStream_t stream, void **parameters, void **extra);
extern hipError_t hipStreamCreate(hipStream_t *stream);
extern hipError_t hipStreamDestroy(hipStream_t stream);
extern hipError_t hipStreamSynchronize(hipStream_t stream);
extern hipError_t hipStreamBeginCapture(hipStream_t stream, int mode);
extern hipError_t hipStreamEndCapture(hipStream_t stream, hipGraph_t *graph);
extern hipError_t hipGraphInstantiate(hipGraphExec_t *executable, hipGraph_t graph, void *node, char *log, size_t size);
extern hipError_t hipGraphLaunch(hipGraphExec_t executable, hipStream_t stream);
extern hipError_t hipGraphExecDestroy(hipGraphExec_t executable);
extern hipError_t hipGraphDestroy(hipGraph_t graph);
#endif

#endif
