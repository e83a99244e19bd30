/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Given to the compiler ahead of each file of client/ (CMakeLists.txt): what weir.h declares is visible from outside,
 * all else is hidden by -fvisibility=hidden. So the public header needs no macro on each function.
 */
#ifndef WEIR_CLIENT_EXPORTS_H
#define WEIR_CLIENT_EXPORTS_H

#pragma GCC visibility push(default)
#include "weir.h"
#pragma GCC visibility pop

#endif
