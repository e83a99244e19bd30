/* SPDX-License-Identifier: Apache-2.0 */
/* File systems that a test mounts for itself. */
#ifndef WEIR_TESTS_MOUNTS_HH
#define WEIR_TESTS_MOUNTS_HH

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <sched.h>
#include <sys/mount.h>

/* They are made in a namespace that ends with this program, however it ends. False: that is not permitted here. */
inline bool mounts_of_our_own()
{
    static const bool own = unshare(CLONE_NEWNS) == 0 && mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    return own;
}

/* Runs a shell command: "", or what it said when it failed. */
inline std::string run_for_image(const std::string &command, const std::string &image)
{
    std::string said = "it failed";
    if (system(("{ PATH=$PATH:/usr/sbin:/sbin; " + command + "; } >'" + image + ".log' 2>&1").c_str()) == 0)
        return "";
    std::ifstream log(image + ".log");
    std::getline(log, said);
    return command + ": " + said;
}

/* Commands that make small file systems. That of xfs makes them for test suites alone, known by these words. */
constexpr char make_ext4[] = "mkfs.ext4 -q -F";
constexpr char make_xfs[] = "TEST_DIR=. TEST_DEV=. QA_CHECK_FS=. mkfs.xfs -q -f";

/* A file system of 64 MiB in a file. */
inline std::string make_image(const std::string &image, const std::string &make)
{
    std::ofstream(image).close();
    std::filesystem::resize_file(image, 64 << 20);
    return run_for_image(make + " '" + image + "'", image);
}

/* The loop device goes with the mount. direct: past the kernel's cache of the image, and many requests at a time. */
inline std::string mount_image(const std::string &image, const std::string &path, bool direct = false)
{
    std::string loop = std::string("loop=$(losetup --find --show --direct-io=") + (direct ? "on" : "off") + " '" +
                       image + "') && { mount $loop '" + path +
                       "'; failed=$?; losetup --detach $loop; test $failed = 0; }";
    return run_for_image(loop, image);
}

#endif
