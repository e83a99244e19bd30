// SPDX-License-Identifier: Apache-2.0
// RabbitMQ: persistent messages to a durable queue, publisher confirms. variant: classic or quorum.
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <glob.h>
#include <sys/stat.h>

#include "bench/peers/durable.hh"

using namespace peers;

struct Client {
    explicit Client(const Work &work) : connection(amqp_new_connection())
    {
        amqp_socket_t *socket = amqp_tcp_socket_new(connection);
        if (amqp_socket_open(socket, "127.0.0.1", read_port(work)) != AMQP_STATUS_OK)
            fail("rabbitmq: no connection");
        check(amqp_login(connection, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest"), "login");
        amqp_channel_open(connection, 1);
        check(amqp_get_rpc_reply(connection), "channel");
        amqp_table_entry_t entry = {};
        entry.key = amqp_cstring_bytes("x-queue-type");
        entry.value.kind = AMQP_FIELD_KIND_UTF8;
        entry.value.value.bytes = amqp_cstring_bytes(work.variant.c_str());
        amqp_queue_declare(connection, 1, amqp_cstring_bytes("bench"), 0, 1, 0, 0, {1, &entry});
        check(amqp_get_rpc_reply(connection), "queue");
        amqp_queue_purge(connection, 1, amqp_cstring_bytes("bench"));
        check(amqp_get_rpc_reply(connection), "purge");
        amqp_confirm_select(connection, 1);
        check(amqp_get_rpc_reply(connection), "confirms");
    }
    ~Client()
    {
        amqp_queue_delete(connection, 1, amqp_cstring_bytes("bench"), 0, 0);
        amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
        amqp_destroy_connection(connection);
    }
    void post(const void *data, size_t bytes)
    {
        amqp_basic_properties_t properties = {};
        properties._flags = AMQP_BASIC_DELIVERY_MODE_FLAG;
        properties.delivery_mode = 2;
        amqp_bytes_t body = {bytes, const_cast<void *>(data)};
        int r = amqp_basic_publish(connection, 1, amqp_cstring_bytes(""), amqp_cstring_bytes("bench"), 0, 0,
                                   &properties, body);
        if (r != AMQP_STATUS_OK)
            fail(std::string("rabbitmq: ") + amqp_error_string2(r));
        posted++;
    }
    void flush()
    {
    }
    // Confirms may come out of order: the mark is what is confirmed without a hole.
    uint64_t confirmed(bool wait)
    {
        uint64_t before = below;
        for (;;) {
            struct timeval none = {0, 0};
            amqp_frame_t frame;
            amqp_maybe_release_buffers(connection);
            int r = amqp_simple_wait_frame_noblock(connection, &frame, wait && below == before ? nullptr : &none);
            if (r == AMQP_STATUS_TIMEOUT)
                return below;
            if (r != AMQP_STATUS_OK)
                fail(std::string("rabbitmq: ") + amqp_error_string2(r));
            if (frame.frame_type != AMQP_FRAME_METHOD)
                continue;
            if (frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
                fail("rabbitmq: a message was refused");
            take_ack(*static_cast<amqp_basic_ack_t *>(frame.payload.method.decoded));
        }
    }
    void replay(uint64_t wanted, const Take &take)
    {
        amqp_basic_qos(connection, 1, 0, 1000, 0); // quorum queues want an ack of each
        check(amqp_get_rpc_reply(connection), "qos");
        amqp_basic_consume(connection, 1, amqp_cstring_bytes("bench"), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
        check(amqp_get_rpc_reply(connection), "consume");
        for (uint64_t got = 0; got < wanted; got++) {
            amqp_envelope_t envelope;
            struct timeval patience = {20, 0};
            amqp_maybe_release_buffers(connection);
            check(amqp_consume_message(connection, &envelope, &patience, 0), "messages are missing");
            take(envelope.message.body.bytes, envelope.message.body.len);
            if (got % 500 == 499)
                amqp_basic_ack(connection, 1, envelope.delivery_tag, 1);
            amqp_destroy_envelope(&envelope);
        }
    }

private:
    static void check(const amqp_rpc_reply_t &reply, const char *what)
    {
        if (reply.reply_type != AMQP_RESPONSE_NORMAL)
            fail(std::string("rabbitmq: ") + what);
    }
    void take_ack(const amqp_basic_ack_t &ack)
    {
        if (early.size() < posted)
            early.resize(posted * 2);
        for (uint64_t tag = ack.multiple ? below + 1 : ack.delivery_tag; tag <= ack.delivery_tag; tag++)
            early[tag - 1] = true;
        while (below < posted && early[below])
            below++;
    }
    amqp_connection_state_t connection;
    uint64_t posted = 0, below = 0;
    std::vector<bool> early;
};

static std::string server_program()
{
    glob_t found;
    std::string path;
    if (glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server", 0, nullptr, &found) == 0)
        path = found.gl_pathv[0];
    globfree(&found);
    return path;
}

static void serve(const Work &work, Result &)
{
    std::string home = work.directory + "/rabbitmq", config = home + "/rabbitmq.conf", program = server_program();
    mkdir(home.c_str(), 0700);
    int port = choose_port(work);
    FILE *file = fopen(config.c_str(), "we");
    if (!file ||
        fprintf(file, "listeners.tcp.default = 127.0.0.1:%d\nlog.console = false\nlog.file.level = error\n", port) <
            0 ||
        fclose(file) != 0)
        fail_errno(config);
    const std::vector<std::pair<const char *, std::string>> settings = {
        {"HOME", home},
        {"RABBITMQ_CONFIG_FILE", config},
        {"RABBITMQ_CONF_ENV_FILE", home + "/none"},
        {"RABBITMQ_MNESIA_BASE", home},
        {"RABBITMQ_LOG_BASE", home},
        {"RABBITMQ_ENABLED_PLUGINS_FILE", home + "/plugins"},
        {"RABBITMQ_PID_FILE", home + "/pid"},
        {"RABBITMQ_NODENAME", work.name + "@localhost"},
        {"RABBITMQ_DIST_PORT", std::to_string(free_port())},
        {"ERL_EPMD_PORT", std::to_string(free_port())},
        {"ERL_EPMD_ADDRESS", "127.0.0.1"}};
    for (const auto &[name, value] : settings)
        setenv(name, value.c_str(), 1);
    execl(program.c_str(), program.c_str(), static_cast<char *>(nullptr));
    fail_errno("rabbitmq-server");
}

int main(int argc, char **argv)
{
    return run_command(argc, argv, {{"confirm", confirm<Client>}, {"ready", ready<Client>}, {"serve", serve}});
}
