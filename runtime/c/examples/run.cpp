// The same as run.c in C++17, with handles that free themselves.
#include <sepal.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>

namespace {

struct Free {
    void operator()(sepal_model *model) const { sepal_model_free(model); }
    void operator()(sepal_session *session) const { sepal_session_free(session); }
};

void must(sepal_status status) {
    if (status != SEPAL_STATUS_OK) {
        throw std::runtime_error(std::string(sepal_status_text(status)) + ": " + sepal_last_error());
    }
}

std::unique_ptr<sepal_model, Free> open(const char *path) {
    sepal_model *model = nullptr;
    must(sepal_model_open(path, &model));
    return std::unique_ptr<sepal_model, Free>(model);
}

std::unique_ptr<sepal_session, Free> session_of(const sepal_model *model, std::uint32_t threads) {
    sepal_session *session = nullptr;
    must(sepal_session_new(model, threads, &session));
    return std::unique_ptr<sepal_session, Free>(session);
}

int run(int argc, char **argv) {
    const auto model = open(argv[1]);
    const auto session = session_of(model.get(), 2);
    for (std::size_t i = 0; i < sepal_model_inputs(model.get()) && i + 2 < static_cast<std::size_t>(argc); i++) {
        sepal_port port;
        must(sepal_model_input(model.get(), i, &port));
        std::ifstream file(argv[i + 2], std::ios::binary);
        const auto bytes = static_cast<std::streamsize>(port.elements * sizeof(float));
        if (!file.read(reinterpret_cast<char *>(sepal_session_input(session.get(), i)), bytes)) {
            throw std::runtime_error(std::string(argv[i + 2]) + ": too short");
        }
    }
    must(sepal_session_run(session.get()));
    for (std::size_t i = 0; i < sepal_model_outputs(model.get()); i++) {
        sepal_port port;
        must(sepal_model_output(model.get(), i, &port));
        const float *output = sepal_session_output(session.get(), i);
        for (std::size_t j = 0; j < port.elements; j++) {
            std::printf("%.9g\n", static_cast<double>(output[j]));
        }
    }
    return 0;
}

}  // namespace

int main(int argc, char **argv) {
    if (sepal_abi_version() != SEPAL_ABI_VERSION || argc < 2) {
        std::fprintf(stderr, "usage: run MODEL INPUT...\n");
        return 2;
    }
    try {
        return run(argc, argv);
    } catch (const std::exception &e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
}
