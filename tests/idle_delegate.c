/* An external delegate for LiteRT that loads and takes nothing: RETURNS is what it answers when it is given the graph
   (0 fine, 1 an error, 2 an error that lets the interpreter go back to the CPU). Layout of tflite/core/c/common.h, for
   64 bits. No header is included: a compiler alone builds it. */

typedef struct Delegate {
  void *data;
  int (*prepare)(void *context, struct Delegate *self);
  void *copy_from, *copy_to, *free_handle;
  long flags;
  void *opaque;
} Delegate;

static int prepare(void *context, Delegate *self) { return RETURNS; }
static Delegate delegate = {0, prepare, 0, 0, 0, 0, 0};

Delegate *tflite_plugin_create_delegate(char **keys, char **values, unsigned long count, void (*report)(const char *)) {
  return &delegate;
}
void tflite_plugin_destroy_delegate(Delegate *self) {}
