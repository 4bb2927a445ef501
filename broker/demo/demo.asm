; The demo guest of Console Broker: a whole operating system in one boot sector.
;
;   nasm -f bin -o demo.img demo.asm
;
; It says CONSOLE BROKER DEMO READY on COM1 and on the screen, and then
;   - every key, and every byte sent to COM1, toggles the block in the middle of the screen
;     and answers K1 or K0 (and the end of the line) on COM1;
;   - the ACPI power button switches it off, so `broker vm stop` is quick and polite.
; The cursor is hidden: nothing moves on an idle screen. The CPU sleeps between timer ticks.
; Pixels (720x400): the block is exactly x 270-449, y 128-287; white after K1, black after K0.

        bits 16
        org 0x7c00

COM1    equ 0x3f8
PM1     equ 0x600               ; SeaBIOS puts ACPI's PM1a block here on both pc and q35
COLUMNS equ 80

start:  cli
        xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        sti
        cld
        mov ax, 0x0003          ; 80x25 text, cleared
        int 0x10
        mov ah, 0x01            ; hide the cursor: a blinking one never lets the screen rest
        mov cx, 0x2000
        int 0x10

        mov dx, COM1 + 1        ; no UART interrupts, 8n1
        xor al, al
        out dx, al
        mov dx, COM1 + 3
        mov al, 3
        out dx, al

        mov dx, PM1 + 2         ; let the power button show in PM1_STS
        mov ax, 0x0100
        out dx, ax

        mov ax, 0xb800
        mov es, ax
        xor di, di
        mov ax, 0x1120          ; a blue screen, of the friendly kind
        mov cx, COLUMNS * 25
        rep stosw
        xor di, di              ; a bar above and one below
        call bar
        mov di, 24 * COLUMNS * 2
        call bar

        mov si, texts
.text:  lodsw                   ; where, then colour, then characters up to a zero
        mov di, ax
        inc ax
        jz .shown
        lodsb
        mov ah, al
.char:  lodsb
        test al, al
        jz .text
        stosw
        jmp .char
.shown: call block
        mov si, banner
        call say

wait_:  sti
        hlt                     ; a key wakes us at once, the timer 18 times a second
look:   cli
        mov ax, [0x41a]         ; the BIOS's keyboard buffer: head and tail differ if a key is in
        cmp ax, [0x41c]
        jne key
        mov dx, COM1 + 5
        in al, dx
        test al, 1
        jnz byte_
        mov dx, PM1
        in ax, dx
        test ah, 1
        jz wait_

        mov dx, PM1 + 4         ; the power button: SLP_EN, type S5
        mov ax, 0x2000
        out dx, ax
        jmp wait_

byte_:  mov dx, COM1
        in al, dx
        jmp toggle
key:    xor ah, ah
        int 0x16
toggle: sti
        xor byte [state], 1
        call block
        mov al, [state]
        add al, '0'
        mov [answer + 1], al
        mov si, answer
        call say
        jmp look                ; not to sleep: more may have come meanwhile

; The block: 20 by 10 cells from row 8, column 30.
block:  mov di, (8 * COLUMNS + 30) * 2
        mov ax, 0x00db
        cmp byte [state], 0
        je .go
        mov ah, 0x0f
.go:    mov bx, 10
.row:   mov cx, 20
        rep stosw
        add di, (COLUMNS - 20) * 2
        dec bx
        jnz .row
        ret

bar:    mov ax, 0x7020
        mov cx, COLUMNS
        rep stosw
        ret

; Sends the text at SI, up to a zero, to COM1.
say:    lodsb
        test al, al
        jz .done
        mov ah, al
        mov dx, COM1 + 5
.full:  in al, dx
        test al, 0x20
        jz .full
        mov dx, COM1
        mov al, ah
        out dx, al
        jmp say
.done:  ret

state:  db 0
answer: db 'K0', 13, 10, 0
banner: db 'CONSOLE BROKER DEMO READY', 13, 10, 0

%define at(row, column) ((row) * COLUMNS + (column)) * 2
texts:  dw at(0, 2)
        db 0x70, 'Console Broker', 0
        dw at(0, 68)
        db 0x70, 'demo guest', 0
        dw at(5, 27)
        db 0x1f, 'CONSOLE BROKER DEMO READY', 0
        dw at(20, 33)
        db 0x1e, 'press any key', 0
        dw at(24, 2)
        db 0x70, 'COM1 answers K1 or K0', 0
        dw -1

        times 510 - ($ - $$) db 0
        dw 0xaa55
