/* In the place of NVIDIA's driver, where a test has no GPU: two GPUs, the second without utilization and power. */
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6 };
static const char *uuids[] = {"GPU-aaaa-1", "GPU-bbbb-2"};
static int gpus[2];

static int index_of(const void *handle) { return handle == &gpus[1]; }

int nvmlInitWithFlags(unsigned flags) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
  *handle = &gpus[index];
  return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
  for (int i = 0; i < 2; i++)
    if (!strcmp(uuid, uuids[i])) { *handle = &gpus[i]; return SUCCESS; }
  return NOT_FOUND;
}

int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned length) {
  strncpy(uuid, uuids[index_of(handle)], length);
  return SUCCESS;
}

int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
  strncpy(name, index_of(handle) ? "Second" : "First", length);
  return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *handle, unsigned rates[2]) {
  if (index_of(handle)) return NOT_SUPPORTED;
  rates[0] = 83; rates[1] = 40;
  return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long info[3]) {
  info[0] = 1000; info[1] = 750; info[2] = 250; /* total, free, used */
  return SUCCESS;
}

int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *celsius) { *celsius = 61; return SUCCESS; }

int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
  if (index_of(handle)) return NOT_SUPPORTED;
  *milliwatts = 412500;
  return SUCCESS;
}
