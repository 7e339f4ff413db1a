# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_tedge_hsm_global_optspecs
    string join \n socket-path= module-path= hsm= pin-file= h/help V/version
end

function __fish_tedge_hsm_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_tedge_hsm_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_tedge_hsm_using_subcommand
    set -l cmd (__fish_tedge_hsm_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -l pin-file -d 'File with the user PIN, for commands that need it' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -s V -l version -d 'Print version'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "init" -d 'Initialise a blank token and set its PINs; does nothing if a token already has the label'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "create-key" -d 'Make a key pair on a token; does nothing if it already exists'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "delete-key" -d 'Delete a key, after a confirmation'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "public-key" -d 'Write the public key of a key to a file'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "key-file" -d 'Write a PEM file that stands for a key, for programs that want a key file'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "change-pin" -d 'Change the user PIN or the SO PIN (security officer)'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "unlock" -d 'Reset the user PIN with the SO PIN (security officer)'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "list-tokens" -d 'List the tokens'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "list-keys" -d 'List the keys on a token'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "list-certificates" -d 'List the certificates on a token'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "import-certificate" -d 'Store a certificate beside its key on the token'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "export-certificate" -d 'Write a certificate from the token to a file'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "csr" -d 'Make a certificate signing request, signed by the key on the token'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "self-signed" -d 'Make a self-signed certificate with the key on the token'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "show" -d 'Show a certificate, its chain, and whether it belongs to the key on the token'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "verify" -d 'Verify that a TLS server would accept a certificate, and that the key on the token works'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "renew" -d 'Renew a certificate, or get the first one, from an EST server (RFC 7030)'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "enroll" -d 'Enrol the device with its cloud: from a token to a certificate and the bridge\'s configuration'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "connect" -d 'Connect to an MQTT broker by TLS with the key on the token'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "doctor" -d 'Check everything between the HSM and the broker, and say what to do next'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "setup" -d 'Set up a device: from a blank HSM to a certificate request, in one command'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "hsms" -d 'List the supported kinds of HSM, and which of them are on this machine'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "status" -d 'Show signer health: tokens, counters, signature times'
complete -c tedge-hsm -n "__fish_tedge_hsm_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand init" -l label -d 'Label for the token, 1 to 32 bytes' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand init" -l uri -d 'URI of the blank token, if there are blank tokens of several kinds' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand init" -l so-pin-file -d 'File with the new SO PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand init" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand init" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand init" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand init" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand init" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand create-key" -l label -d 'Label for the key' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand create-key" -l uri -d 'URI of the token' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand create-key" -l type -d 'Type of the key' -r -f -a "p256\t''
p384\t''
p521\t''
rsa2048\t''
rsa3072\t''
rsa4096\t''
ed25519\t''
ml-dsa-44\t''
ml-dsa-65\t''
ml-dsa-87\t''"
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand create-key" -l id -d 'Id for the key, in hexadecimal [default: random]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand create-key" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand create-key" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand create-key" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand create-key" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand create-key" -l another -d 'Make another key even if one has the label'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand create-key" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand delete-key" -l uri -d 'URI of the key; it must match exactly one key' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand delete-key" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand delete-key" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand delete-key" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand delete-key" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand delete-key" -l yes -d 'Do not ask'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand delete-key" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand public-key" -l uri -d 'URI of the key [default: the key that the signer is configured with]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand public-key" -l output -d 'File to write the public key to [default: standard output]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand public-key" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand public-key" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand public-key" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand public-key" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand public-key" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand key-file" -l uri -d 'URI of the key [default: the key that the signer is configured with]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand key-file" -l output -d 'File to write [default: standard output]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand key-file" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand key-file" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand key-file" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand key-file" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand key-file" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand change-pin" -l uri -d 'URI of the token' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand change-pin" -l new-pin-file -d 'File with the new PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand change-pin" -l so-pin-file -d 'With --so: file with the old SO PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand change-pin" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand change-pin" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand change-pin" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand change-pin" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand change-pin" -l so -d 'Change the SO PIN instead of the user PIN'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand change-pin" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand unlock" -l uri -d 'URI of the token' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand unlock" -l so-pin-file -d 'File with the SO PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand unlock" -l new-pin-file -d 'File with the new user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand unlock" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand unlock" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand unlock" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand unlock" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-tokens" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-tokens" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-tokens" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-tokens" -l json -d 'Print JSON'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-tokens" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-keys" -l uri -d 'URI of the token, or of the keys' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-keys" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-keys" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-keys" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-keys" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-keys" -l json -d 'Print JSON'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-keys" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-certificates" -l uri -d 'URI of the token, or of the certificates or their keys' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-certificates" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-certificates" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-certificates" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-certificates" -l json -d 'Print JSON'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand list-certificates" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand import-certificate" -l uri -d 'URI of the key [default: the key that the signer is configured with]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand import-certificate" -l cert -d 'PEM or DER file with the certificate; in a chain, it is the first one' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand import-certificate" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand import-certificate" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand import-certificate" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand import-certificate" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand import-certificate" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand export-certificate" -l uri -d 'URI of the certificate or of its key [default: the key that the signer is configured with]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand export-certificate" -l output -d 'File to write the certificate to [default: standard output]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand export-certificate" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand export-certificate" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand export-certificate" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand export-certificate" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand csr" -l uri -d 'URI of the key [default: the key that the signer is configured with]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand csr" -l common-name -d 'Common name of the subject: the device\'s id' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand csr" -l organization -d 'Organisation of the subject' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand csr" -l san -d 'Further name: DNS:NAME, URI:URI, IP:ADDRESS or email:ADDRESS; may be repeated' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand csr" -l renew -d 'Take the names from this certificate; it must be for the same key' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand csr" -l output -d 'File to write the request to [default: standard output]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand csr" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand csr" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand csr" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand csr" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand csr" -l new-key -d 'With --renew: the certificate may be for another key'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand csr" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand self-signed" -l uri -d 'URI of the key [default: the key that the signer is configured with]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand self-signed" -l common-name -d 'Common name of the subject: the device\'s id' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand self-signed" -l organization -d 'Organisation of the subject' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand self-signed" -l san -d 'Further name: DNS:NAME, URI:URI, IP:ADDRESS or email:ADDRESS; may be repeated' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand self-signed" -l days -d 'Days of validity, from now on' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand self-signed" -l output -d 'File to write the certificate to [default: standard output]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand self-signed" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand self-signed" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand self-signed" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand self-signed" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand self-signed" -l as-ca -d 'Set CA:TRUE, which Cumulocity IoT demands of a certificate that it is to trust'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand self-signed" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand show" -l uri -d 'URI of the key [default: the key that the signer is configured with, if there is a signer]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand show" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand show" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand show" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand show" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand show" -l json -d 'Print JSON'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand show" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand verify" -l ca -d 'PEM or DER file with the CA certificates that the server trusts' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand verify" -l uri -d 'URI of the key [default: the key that the signer is configured with]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand verify" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand verify" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand verify" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand verify" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand verify" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l est -d 'EST server: https://HOST[:PORT], if needed with /.well-known/est/LABEL or another path' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l cumulocity -d 'In place of --est: the tenant of Cumulocity whose own CA issued the certificate' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l mqtt -d 'The tenant\'s MQTT broker, if it is elsewhere' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l cert -d 'PEM or DER file with the certificate and its chain; a good new certificate replaces it, in PEM' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l ca -d 'PEM or DER file with the CA certificates that verify the server and the new certificate' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l settings -d 'File with the settings EST_URL or CUMULOCITY, CERT, CA, DAYS, SPREAD, PROXY, PROXY_USER, PROXY_PASSWORD_FILE, NO_PROXY and OPTIONS, in place of the options. Only root may be able to write it; tedge-hsm-renew.service uses it' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l uri -d 'URI of the key [default: the key that the signer is configured with]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l days -d 'Do nothing while the certificate is valid for more than this number of days' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l new-key -d 'Get the certificate for another key: the one of this URI, or without a URI a new key, which replaces the old one in steps (docs/rotation.md)' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l cacerts-out -d 'Write the CA certificates that the server distributes to this file; one of them may issue the new certificate, too' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l timeout -d 'Time limit for each request, in seconds' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l key-type -d 'Type of the new key [default: that of the old key]' -r -f -a "p256\t''
p384\t''
p521\t''
rsa2048\t''
rsa3072\t''
rsa4096\t''
ed25519\t''
ml-dsa-44\t''
ml-dsa-65\t''
ml-dsa-87\t''"
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l new-key-label -d 'Label of the new key [default: that of the old key, since URIs and rules name keys by it]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l keep-old -d 'Days to keep the old key after the new one is in use' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l hook -d 'Program to run, without arguments, after the new certificate has replaced the old one' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l try-connect -d 'Connect with the new certificate, as `connect` does, before it replaces the old one: to HOST, or to the brokers in tedge.toml' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l try-ca -d 'PEM or DER file with the CA certificates that verify the broker\'s [default: root_cert_path in tedge.toml]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l try-client-id -d 'MQTT client id [default: the certificate\'s common name]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l try-username -d 'User name for MQTT' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l try-password-file -d 'File with the user\'s password for MQTT' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l try-alpn -d 'Application protocol to offer (ALPN); may be repeated' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l proxy -d 'Connect through this HTTP proxy (CONNECT): http://HOST[:PORT], or \'\' for none [default: proxy.address of tedge.toml, else https_proxy or all_proxy of the environment]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l proxy-user -d 'Log in to the proxy as this user' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l proxy-password-file -d 'File with the user\'s password for the proxy' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l no-proxy -d 'Hosts, domains, addresses and networks (CIDR) to connect to directly, separated by commas; \'*\' means all' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l common-name -d 'Common name of the subject: the device\'s id' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l organization -d 'Organisation of the subject' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l san -d 'Further name: DNS:NAME, URI:URI, IP:ADDRESS or email:ADDRESS; may be repeated' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l user -d 'Log in to the server as this user' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l password-file -d 'File with the user\'s password' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l bootstrap-cert -d 'Log in with the certificate in this PEM or DER file, such as the manufacturer\'s' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l bootstrap-uri -d 'URI of the bootstrap certificate\'s key [default: --uri]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l spread -d 'Renew at a moment of this device\'s own, well before --days (or before a third of the certificate\'s life is left), and wait longer after each failure: for a device of a fleet (docs/fleet.md)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l require-post-quantum -d 'Connect only with the key exchange X25519MLKEM768, which keeps what is recorded today from the quantum computers of tomorrow (docs/post-quantum.md)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -l enroll -d 'Get the first certificate; --cert must not exist yet'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand renew" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and not __fish_seen_subcommand_from est cumulocity aws azure help" -l settings -d 'File with CLOUD=, such as cumulocity, and OPTIONS=, which root alone may write, as tedge-hsm-enroll.service has it' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and not __fish_seen_subcommand_from est cumulocity aws azure help" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and not __fish_seen_subcommand_from est cumulocity aws azure help" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and not __fish_seen_subcommand_from est cumulocity aws azure help" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and not __fish_seen_subcommand_from est cumulocity aws azure help" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and not __fish_seen_subcommand_from est cumulocity aws azure help" -f -a "est" -d 'Any CA that speaks EST (RFC 7030)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and not __fish_seen_subcommand_from est cumulocity aws azure help" -f -a "cumulocity" -d 'Cumulocity\'s own CA'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and not __fish_seen_subcommand_from est cumulocity aws azure help" -f -a "aws" -d 'AWS IoT Core, by fleet provisioning with a claim certificate'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and not __fish_seen_subcommand_from est cumulocity aws azure help" -f -a "azure" -d 'Azure IoT Hub, by the Device Provisioning Service and a certificate that is there already'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and not __fish_seen_subcommand_from est cumulocity aws azure help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l est -d 'EST server: https://HOST[:PORT], if needed with /.well-known/est/LABEL or another path' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l ca -d 'PEM or DER file with the CA certificates that verify the server and the certificate [default: /etc/tedge-hsm/est-ca.pem, or the one in /etc/tedge if only that is there]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l fingerprint -d 'SHA-256 of the CA\'s certificate, which is fetched from the server where the file of --ca is not there yet' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l user -d 'Log in to the server as this user' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l password-file -d 'File with the user\'s password' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l bootstrap-cert -d 'Log in with the certificate in this PEM or DER file, such as the manufacturer\'s' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l bootstrap-key -d 'PEM file with the bootstrap certificate\'s key, which nobody else may read' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l bootstrap-uri -d 'URI of the bootstrap certificate\'s key in the token; the certificate beside it is taken where there is no --bootstrap-cert' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l broker -d 'The broker that the device connects to then; without it no bridge is configured' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l preset -d 'The bridge\'s rules for that broker; without it those that its configuration has' -r -f -a "cumulocity\t''
cumulocity-mqtt-service\t''
aws-iot\t''
azure-iot-hub\t''
azure-event-grid\t''"
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l broker-name -d 'Name of the broker\'s table in the bridge\'s configuration' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l device-id -d 'The device\'s id: common name of the certificate and MQTT client id, where %m is the machine\'s id' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l organization -d 'Organisation of the certificate\'s subject' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l san -d 'Further name: DNS:NAME, URI:URI, IP:ADDRESS or email:ADDRESS; may be repeated' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l uri -d 'URI of the key [default: device.key_uri of tedge.toml, else the key with the label of --key]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l key -d 'Label of the key, which is made if it is not there [default: tls]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l key-type -d 'Type of a key that is made [default: what the cloud wants, else p256]' -r -f -a "p256\t''
p384\t''
p521\t''
rsa2048\t''
rsa3072\t''
rsa4096\t''
ed25519\t''
ml-dsa-44\t''
ml-dsa-65\t''
ml-dsa-87\t''"
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l cert -d 'File for the certificate [default: device.cert_path of tedge.toml]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l bridge -d 'The bridge\'s configuration, which gets a table for the cloud [default: /etc/tedge-hsm/tedge-hsm-bridge.toml, or the one in /etc/tedge if only that is there]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l broker-ca -d 'PEM or DER file with the CA certificates that verify the broker\'s [default: those of the system]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l timeout -d 'Time limit for each request, in seconds' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l wait -d 'Seconds to wait for somebody to let the device in' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l proxy -d 'Connect through this HTTP proxy (CONNECT): http://HOST[:PORT], or \'\' for none [default: proxy.address of tedge.toml, else https_proxy or all_proxy of the environment]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l proxy-user -d 'Log in to the proxy as this user' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l proxy-password-file -d 'File with the user\'s password for the proxy' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l no-proxy -d 'Hosts, domains, addresses and networks (CIDR) to connect to directly, separated by commas; \'*\' means all' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l no-bridge -d 'Leave the bridge\'s configuration alone'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l no-try -d 'Do not connect to the broker in the end'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -l require-post-quantum -d 'Connect only with the key exchange X25519MLKEM768, which keeps what is recorded today from the quantum computers of tomorrow (docs/post-quantum.md)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from est" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l url -d 'The tenant; c8y.url of tedge.toml without' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l mqtt -d 'The tenant\'s MQTT broker, if it is elsewhere' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l ca -d 'PEM or DER file or folder with the CA certificates that the tenant\'s are verified with; c8y.root_cert_path of tedge.toml without, else /etc/ssl/certs' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l one-time-password-file -d 'File with the one-time password that the device is registered with, where that is done beforehand' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l retry-every -d 'Seconds between two questions whether the device is registered' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l device-id -d 'The device\'s id: common name of the certificate and MQTT client id, where %m is the machine\'s id' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l organization -d 'Organisation of the certificate\'s subject' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l san -d 'Further name: DNS:NAME, URI:URI, IP:ADDRESS or email:ADDRESS; may be repeated' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l uri -d 'URI of the key [default: device.key_uri of tedge.toml, else the key with the label of --key]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l key -d 'Label of the key, which is made if it is not there [default: tls]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l key-type -d 'Type of a key that is made [default: what the cloud wants, else p256]' -r -f -a "p256\t''
p384\t''
p521\t''
rsa2048\t''
rsa3072\t''
rsa4096\t''
ed25519\t''
ml-dsa-44\t''
ml-dsa-65\t''
ml-dsa-87\t''"
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l cert -d 'File for the certificate [default: device.cert_path of tedge.toml]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l bridge -d 'The bridge\'s configuration, which gets a table for the cloud [default: /etc/tedge-hsm/tedge-hsm-bridge.toml, or the one in /etc/tedge if only that is there]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l broker-ca -d 'PEM or DER file with the CA certificates that verify the broker\'s [default: those of the system]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l timeout -d 'Time limit for each request, in seconds' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l wait -d 'Seconds to wait for somebody to let the device in' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l proxy -d 'Connect through this HTTP proxy (CONNECT): http://HOST[:PORT], or \'\' for none [default: proxy.address of tedge.toml, else https_proxy or all_proxy of the environment]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l proxy-user -d 'Log in to the proxy as this user' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l proxy-password-file -d 'File with the user\'s password for the proxy' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l no-proxy -d 'Hosts, domains, addresses and networks (CIDR) to connect to directly, separated by commas; \'*\' means all' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l url-to-journal -d 'Print the URL into systemd\'s journal, too, which members of systemd-journal and adm may read'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l no-bridge -d 'Leave the bridge\'s configuration alone'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l no-try -d 'Do not connect to the broker in the end'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -l require-post-quantum -d 'Connect only with the key exchange X25519MLKEM768, which keeps what is recorded today from the quantum computers of tomorrow (docs/post-quantum.md)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from cumulocity" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l endpoint -d 'The account\'s endpoint for device data: ID-ats.iot.REGION.amazonaws.com[:443]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l template -d 'Name of the provisioning template' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l parameter -d 'Parameter of the template, in whose value %m is the machine\'s id; may be repeated' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l device-configuration -d 'File for what the template has for the device (deviceConfiguration); aws-device-configuration.json beside the bridge\'s configuration without' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l bootstrap-cert -d 'Log in with the certificate in this PEM or DER file, such as the manufacturer\'s' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l bootstrap-key -d 'PEM file with the bootstrap certificate\'s key, which nobody else may read' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l bootstrap-uri -d 'URI of the bootstrap certificate\'s key in the token; the certificate beside it is taken where there is no --bootstrap-cert' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l device-id -d 'The device\'s id: common name of the certificate and MQTT client id, where %m is the machine\'s id' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l organization -d 'Organisation of the certificate\'s subject' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l san -d 'Further name: DNS:NAME, URI:URI, IP:ADDRESS or email:ADDRESS; may be repeated' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l uri -d 'URI of the key [default: device.key_uri of tedge.toml, else the key with the label of --key]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l key -d 'Label of the key, which is made if it is not there [default: tls]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l key-type -d 'Type of a key that is made [default: what the cloud wants, else p256]' -r -f -a "p256\t''
p384\t''
p521\t''
rsa2048\t''
rsa3072\t''
rsa4096\t''
ed25519\t''
ml-dsa-44\t''
ml-dsa-65\t''
ml-dsa-87\t''"
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l cert -d 'File for the certificate [default: device.cert_path of tedge.toml]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l bridge -d 'The bridge\'s configuration, which gets a table for the cloud [default: /etc/tedge-hsm/tedge-hsm-bridge.toml, or the one in /etc/tedge if only that is there]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l broker-ca -d 'PEM or DER file with the CA certificates that verify the broker\'s [default: those of the system]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l timeout -d 'Time limit for each request, in seconds' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l wait -d 'Seconds to wait for somebody to let the device in' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l proxy -d 'Connect through this HTTP proxy (CONNECT): http://HOST[:PORT], or \'\' for none [default: proxy.address of tedge.toml, else https_proxy or all_proxy of the environment]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l proxy-user -d 'Log in to the proxy as this user' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l proxy-password-file -d 'File with the user\'s password for the proxy' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l no-proxy -d 'Hosts, domains, addresses and networks (CIDR) to connect to directly, separated by commas; \'*\' means all' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l no-bridge -d 'Leave the bridge\'s configuration alone'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l no-try -d 'Do not connect to the broker in the end'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -l require-post-quantum -d 'Connect only with the key exchange X25519MLKEM768, which keeps what is recorded today from the quantum computers of tomorrow (docs/post-quantum.md)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from aws" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l id-scope -d 'The service\'s ID scope, as its overview in the portal has it' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l endpoint -d 'The service\'s endpoint for devices' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l device-id -d 'The device\'s id: common name of the certificate and MQTT client id, where %m is the machine\'s id' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l organization -d 'Organisation of the certificate\'s subject' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l san -d 'Further name: DNS:NAME, URI:URI, IP:ADDRESS or email:ADDRESS; may be repeated' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l uri -d 'URI of the key [default: device.key_uri of tedge.toml, else the key with the label of --key]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l key -d 'Label of the key, which is made if it is not there [default: tls]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l key-type -d 'Type of a key that is made [default: what the cloud wants, else p256]' -r -f -a "p256\t''
p384\t''
p521\t''
rsa2048\t''
rsa3072\t''
rsa4096\t''
ed25519\t''
ml-dsa-44\t''
ml-dsa-65\t''
ml-dsa-87\t''"
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l cert -d 'File for the certificate [default: device.cert_path of tedge.toml]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l bridge -d 'The bridge\'s configuration, which gets a table for the cloud [default: /etc/tedge-hsm/tedge-hsm-bridge.toml, or the one in /etc/tedge if only that is there]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l broker-ca -d 'PEM or DER file with the CA certificates that verify the broker\'s [default: those of the system]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l timeout -d 'Time limit for each request, in seconds' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l wait -d 'Seconds to wait for somebody to let the device in' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l proxy -d 'Connect through this HTTP proxy (CONNECT): http://HOST[:PORT], or \'\' for none [default: proxy.address of tedge.toml, else https_proxy or all_proxy of the environment]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l proxy-user -d 'Log in to the proxy as this user' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l proxy-password-file -d 'File with the user\'s password for the proxy' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l no-proxy -d 'Hosts, domains, addresses and networks (CIDR) to connect to directly, separated by commas; \'*\' means all' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l no-bridge -d 'Leave the bridge\'s configuration alone'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l no-try -d 'Do not connect to the broker in the end'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -l require-post-quantum -d 'Connect only with the key exchange X25519MLKEM768, which keeps what is recorded today from the quantum computers of tomorrow (docs/post-quantum.md)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from azure" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from help" -f -a "est" -d 'Any CA that speaks EST (RFC 7030)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from help" -f -a "cumulocity" -d 'Cumulocity\'s own CA'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from help" -f -a "aws" -d 'AWS IoT Core, by fleet provisioning with a claim certificate'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from help" -f -a "azure" -d 'Azure IoT Hub, by the Device Provisioning Service and a certificate that is there already'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand enroll; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l uri -d 'URI of the key [default: the key that the signer is configured with]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l host -d 'Host name or address of the broker; it must be in the broker\'s certificate' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l port -d 'Port of the broker' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l cert -d 'PEM or DER file with the key\'s certificate, in PEM with its chain' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l ca -d 'PEM or DER file with the CA certificates that verify the broker\'s' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l client-id -d 'MQTT client id [default: the certificate\'s common name]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l username -d 'User name for MQTT, which some clouds want in addition to the certificate' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l password-file -d 'File with the user\'s password for MQTT' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l alpn -d 'Application protocol to offer (ALPN), such as AWS\'s x-amzn-mqtt-ca for port 443; may be repeated' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l publish -d 'Publish this message with QoS 1' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l subscribe -d 'Subscribe to this topic and wait for one message' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l timeout -d 'Time limit for each step, in seconds' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l proxy -d 'Connect through this HTTP proxy (CONNECT): http://HOST[:PORT], or \'\' for none [default: proxy.address of tedge.toml, else https_proxy or all_proxy of the environment]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l proxy-user -d 'Log in to the proxy as this user' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l proxy-password-file -d 'File with the user\'s password for the proxy' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l no-proxy -d 'Hosts, domains, addresses and networks (CIDR) to connect to directly, separated by commas; \'*\' means all' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -l require-post-quantum -d 'Connect only with the key exchange X25519MLKEM768, which keeps what is recorded today from the quantum computers of tomorrow (docs/post-quantum.md)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand connect" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l bundle -d 'Write a tar file for a bug report: findings, versions, settings, tokens and keys, and a day\'s log. Secrets are taken out, and what names the device, people or brokers has stand-ins. It prints what is in the file, which only you can read' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l uri -d 'URI of the key, or of its token [default: all keys]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l cert -d 'PEM or DER file with the key\'s certificate, in PEM with its chain [default: the one in tedge.toml]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l ca -d 'PEM or DER file, or folder of PEM files, with the CA certificates that verify the broker\'s [default: root_cert_path in tedge.toml]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l host -d 'Host name or address of the broker [default: those in tedge.toml]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l port -d 'Port of the broker' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l config-dir -d 'Folder of tedge.toml' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l timeout -d 'Time limit for each step, in seconds' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l root -d 'Look for /dev, /sys, /etc, /run, /proc and /usr/lib in this folder: for tests' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l proxy -d 'Connect through this HTTP proxy (CONNECT): http://HOST[:PORT], or \'\' for none [default: proxy.address of tedge.toml, else https_proxy or all_proxy of the environment]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l proxy-user -d 'Log in to the proxy as this user' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l proxy-password-file -d 'File with the user\'s password for the proxy' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l no-proxy -d 'Hosts, domains, addresses and networks (CIDR) to connect to directly, separated by commas; \'*\' means all' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l login -d 'Log in to the token with the PIN and try its keys directly on the module. This may cost one try of the PIN; it is skipped if the token says that only one try is left'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -l json -d 'Print a JSON array of the findings'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand setup" -l token -d 'Label of the token, 1 to 32 bytes [default: device]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand setup" -l key -d 'Label of the key [default: tls]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand setup" -l key-type -d 'Type of the key [default: p256]' -r -f -a "p256\t''
p384\t''
p521\t''
rsa2048\t''
rsa3072\t''
rsa4096\t''
ed25519\t''
ml-dsa-44\t''
ml-dsa-65\t''
ml-dsa-87\t''"
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand setup" -l common-name -d 'Common name of the certificate\'s subject; %m stands for the machine id [default: %m]' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand setup" -l certificate -d 'What the key signs [default: csr]' -r -f -a "csr\t'A certificate signing request'
self-signed\t'A certificate that the key issues for itself'"
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand setup" -l output -d 'File for the request or the certificate [default: /var/lib/tedge-hsm/device.csr or device.pem]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand setup" -l so-pin-file -d 'File with the SO PIN [default: a random one, which is kept beside the user PIN]' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand setup" -l settings -d 'File with TOKEN=, KEY=, KEY_TYPE=, COMMON_NAME=, CERTIFICATE= and SEAL=; options take precedence' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand setup" -l root -d 'Prepare the image in this folder: users, drop-in, tedge.toml, the enabled signer. The rest is done on the device' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand setup" -l pin-file -d 'File with the user PIN' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand setup" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand setup" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand setup" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand setup" -l dry-run -d 'Show the steps, and change nothing'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand setup" -l no-seal -d 'Store the PINs in files that only root may read, even if they could be sealed'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand setup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand hsms" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand hsms" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand hsms" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand hsms" -l json -d 'Print a JSON array'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand hsms" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand status" -l metrics -d 'Write metrics in the text format of Prometheus to FILE, whole or not at all, or to standard output; ends with 0, also when no signer answers' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand status" -l socket-path -d 'Socket of tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand status" -l module-path -d 'Use this PKCS#11 module directly, without tedge-p11-server' -r -F
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand status" -l hsm -d 'Kind of HSM (see `hsms`): uses its module directly, with the environment that the module needs' -r
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand status" -l json -d 'Print JSON'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand status" -s h -l help -d 'Print help'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "init" -d 'Initialise a blank token and set its PINs; does nothing if a token already has the label'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "create-key" -d 'Make a key pair on a token; does nothing if it already exists'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "delete-key" -d 'Delete a key, after a confirmation'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "public-key" -d 'Write the public key of a key to a file'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "key-file" -d 'Write a PEM file that stands for a key, for programs that want a key file'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "change-pin" -d 'Change the user PIN or the SO PIN (security officer)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "unlock" -d 'Reset the user PIN with the SO PIN (security officer)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "list-tokens" -d 'List the tokens'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "list-keys" -d 'List the keys on a token'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "list-certificates" -d 'List the certificates on a token'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "import-certificate" -d 'Store a certificate beside its key on the token'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "export-certificate" -d 'Write a certificate from the token to a file'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "csr" -d 'Make a certificate signing request, signed by the key on the token'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "self-signed" -d 'Make a self-signed certificate with the key on the token'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "show" -d 'Show a certificate, its chain, and whether it belongs to the key on the token'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "verify" -d 'Verify that a TLS server would accept a certificate, and that the key on the token works'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "renew" -d 'Renew a certificate, or get the first one, from an EST server (RFC 7030)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "enroll" -d 'Enrol the device with its cloud: from a token to a certificate and the bridge\'s configuration'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "connect" -d 'Connect to an MQTT broker by TLS with the key on the token'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "doctor" -d 'Check everything between the HSM and the broker, and say what to do next'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "setup" -d 'Set up a device: from a blank HSM to a certificate request, in one command'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "hsms" -d 'List the supported kinds of HSM, and which of them are on this machine'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "status" -d 'Show signer health: tokens, counters, signature times'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and not __fish_seen_subcommand_from init create-key delete-key public-key key-file change-pin unlock list-tokens list-keys list-certificates import-certificate export-certificate csr self-signed show verify renew enroll connect doctor setup hsms status help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and __fish_seen_subcommand_from enroll" -f -a "est" -d 'Any CA that speaks EST (RFC 7030)'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and __fish_seen_subcommand_from enroll" -f -a "cumulocity" -d 'Cumulocity\'s own CA'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and __fish_seen_subcommand_from enroll" -f -a "aws" -d 'AWS IoT Core, by fleet provisioning with a claim certificate'
complete -c tedge-hsm -n "__fish_tedge_hsm_using_subcommand help; and __fish_seen_subcommand_from enroll" -f -a "azure" -d 'Azure IoT Hub, by the Device Provisioning Service and a certificate that is there already'
